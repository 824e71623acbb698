"""What a server does: read, answer, hold back, try a challenger. `app.py` runs it."""
