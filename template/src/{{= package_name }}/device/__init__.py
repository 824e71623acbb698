"""The device loop: decisions, their outbox and upload, and model updates. Start at `loop.py`."""
