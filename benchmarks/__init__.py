"""Speed beside the peers (speed) and the papers' tables at reduced scale (replicate_*). Results are kept in results/."""
