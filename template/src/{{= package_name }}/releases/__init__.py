"""Signed releases of the model, and which of them is in use."""
