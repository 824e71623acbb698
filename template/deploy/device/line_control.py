"""A gate on a line that asks the device about each part: only what is answered PASS goes on.

Start from this file: it needs Python alone, nothing of this repo, and no network. When the device
says nothing in time, or is not there, the part is taken out, as with every answer but PASS.

    python line_control.py LABEL FILE...    LABEL is the answer that lets a part go on
"""

import http.client
import json
import socket
import sys
from pathlib import Path

SOCKET = "data/decide.sock"
WAIT_S = 2.0  # longer than the device takes at most: see `fail_safe` in scope.yaml


class Device(http.client.HTTPConnection):
    """HTTP over the Unix socket of the device."""

    def connect(self) -> None:
        """Connect, or raise OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(SOCKET)


def ask(payload: bytes) -> str:
    """Return the label of a part, or why there is none."""
    device = Device("device")
    try:
        device.request("POST", "/decide", payload)
        decision = json.loads(device.getresponse().read())
        return str(decision.get("label", decision))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer ({error})"
    finally:
        device.close()


if __name__ == "__main__":
    good, *files = sys.argv[1:]
    for file in files:
        label = ask(Path(file).read_bytes())
        print("pass" if label == good else "STOP", file, label, flush=True)
