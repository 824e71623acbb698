"""What a device does: decide, keep, send, and renew its model. `loop.py` runs it."""
