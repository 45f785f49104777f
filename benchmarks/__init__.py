"""Speed beside the peers (speed) and the papers' tables at reduced scale (twins_*). Results are kept in results/."""
