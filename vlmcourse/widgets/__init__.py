"""Explorers and players; each leaves a still picture where there is no kernel."""
