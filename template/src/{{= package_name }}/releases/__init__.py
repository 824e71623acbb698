"""Signed releases: making, verifying and rolling them out."""
