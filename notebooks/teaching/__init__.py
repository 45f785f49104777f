"""What only the lessons need: one module a lesson with the checks of its exercises, and their models."""
