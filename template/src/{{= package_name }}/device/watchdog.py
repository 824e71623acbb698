"""Messages to systemd, which restarts a device loop that sends no more of them: sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send a state like `READY=1`. Does nothing where systemd did not start this process."""
    address = os.environ.get("NOTIFY_SOCKET")  # set by systemd
    if not address:
        return
    if address.startswith("@"):  # an abstract socket has no file, and starts with NUL: unix(7)
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # a decision does not wait for systemd
        sender.sendto(state.encode(), address)
