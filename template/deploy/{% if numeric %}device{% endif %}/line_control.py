"""Example client: a gate on a production line that asks the device about each part.

Copy this file as a start. It needs only Python: no package of this project and no network. A part
passes only if each whole interval is in the right range. Any other number, a decision without an
interval, a late reply or no connection stops it.

    python line_control.py LOW HIGH FILE...    parts from LOW to HIGH pass
"""

import http.client
import json
import socket
import sys
from pathlib import Path
from typing import Any

SOCKET = "data/decide.sock"
WAIT_S = 2.0  # must exceed the deadline of the device: see `fail_safe` in scope.yaml


class Device(http.client.HTTPConnection):
    """HTTP over the Unix socket of the device."""

    def connect(self) -> None:
        """Connect, or raise OSError."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(SOCKET)


def ask(payload: bytes) -> dict[str, Any]:
    """Return the decision about a part, or the reason for having none."""
    device = Device("device")
    try:
        device.request("POST", "/decide", payload)
        return dict(json.loads(device.getresponse().read()))
    except (OSError, http.client.HTTPException, TypeError, ValueError) as error:
        return {"error": f"no decision ({error})"}
    finally:
        device.close()


def is_good(decision: dict[str, Any], low: float, high: float) -> bool:
    """Whether the intervals of a decision are inside a range. A fail-safe has none."""
    ends = [*_numbers(decision.get("low")), *_numbers(decision.get("high"))]
    return bool(ends) and all(low <= end <= high for end in ends)


def _numbers(ends: Any) -> list[float]:
    """Return the ends of one interval, or of several, as a list."""
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


if __name__ == "__main__":
    low, high, *files = sys.argv[1:]
    for file in files:
        decision = ask(Path(file).read_bytes())
        word = "pass" if is_good(decision, float(low), float(high)) else "STOP"
        reason = decision.get("error") or decision.get("fail_safe") or ""
        print(word, file, decision.get("value") or decision.get("values"), reason, flush=True)
