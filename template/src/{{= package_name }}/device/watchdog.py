"""Watchdog messages to systemd, which restarts the loop when they stop: sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send a state like `READY=1`, if systemd started this process."""
    address = os.environ.get("NOTIFY_SOCKET")  # set by systemd
    if not address:
        return
    if address.startswith("@"):  # an abstract socket: its name starts with NUL, see unix(7)
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # decisions do not wait for systemd
        sender.sendto(state.encode(), address)
