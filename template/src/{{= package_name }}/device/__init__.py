"""The device loop: decisions, their outbox and upload, model updates. Start at `loop.py`."""
