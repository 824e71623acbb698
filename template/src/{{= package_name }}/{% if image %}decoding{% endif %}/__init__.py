"""Read image files; `task/features.py` chooses what it needs of them."""
