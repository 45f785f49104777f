"""Training: the loop, optimisation, precision, checkpoints, trained stages."""
