"""Read sound files; `task/features.py` chooses what it needs of them."""
