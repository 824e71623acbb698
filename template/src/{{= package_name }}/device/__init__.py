"""What a device does: decide, keep and send decisions, and update its model. Start at `loop.py`."""
