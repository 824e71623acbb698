"""Tells systemd how the device loop does, which then restarts it if it hangs: sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send a state, like `READY=1`; nothing is sent where systemd did not start this process."""
    if not (address := os.environ.get("NOTIFY_SOCKET")):
        return
    if address.startswith("@"):  # of no file, but abstract: unix(7)
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # decisions never wait for it
        sender.sendto(state.encode(), address)
