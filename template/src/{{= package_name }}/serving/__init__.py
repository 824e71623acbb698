"""What a server does: read, answer, hold back, try a challenger. `serve.py` runs it."""
