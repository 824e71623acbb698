"""What a device does: decide, keep, send, and renew its model. `edge.py` runs it."""
