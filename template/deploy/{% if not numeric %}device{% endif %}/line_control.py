"""Example client: a gate on a production line that asks the device about each part.

Copy this file as a start. It needs only Python: no package of this project and no network. A part
passes only with the right label. Any other label, a late reply or no connection stops it.

    python line_control.py LABEL FILE...    parts with this LABEL pass; `-` stands for no label
"""

import http.client
import json
import socket
import sys
from pathlib import Path

SOCKET = "data/decide.sock"
WAIT_S = 2.0  # must exceed the deadline of the device: see `fail_safe` in scope.yaml


class Device(http.client.HTTPConnection):
    """HTTP over the Unix socket of the device."""

    def connect(self) -> None:
        """Connect, or raise OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(SOCKET)


def ask(payload: bytes) -> str:
    """Return the label of a part, or the reason for having none."""
    device = Device("device")
    try:
        device.request("POST", "/decide", payload)
        decision = json.loads(device.getresponse().read())
        if "labels" in decision:
            return "|".join(decision["labels"]) or "-"
        return str(decision["label"])
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        return f"no decision ({error})"
    finally:
        device.close()


if __name__ == "__main__":
    good, *files = sys.argv[1:]
    for file in files:
        label = ask(Path(file).read_bytes())
        print("pass" if label == good else "STOP", file, label, flush=True)
