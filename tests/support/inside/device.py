"""A device without a model, in the environment of a render: `device.py COUNT [SYNCHRONOUS]`.

It puts COUNT numbered events into the outbox, PAUSE_S seconds apart, and logs each in `puts.log`
once it is on disk. If `params.yaml` names a collector, it then uploads until it is killed.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from scratch_detector import scope
from scratch_detector.device import outbox

LOG = Path("puts.log")


def event_id(number: int) -> str:
    """Return the id of an event."""
    return f"{number:064x}"


def device(count: int, synchronous: str = "FULL", pause_s: float = 0) -> None:
    """Put events, continuing after the last one in the log."""
    queue = outbox.Outbox(scope.load_params().outbox_mb, Path("box.db"))
    queue._db.execute(f"PRAGMA synchronous={synchronous}")
    if scope.load_params().upload_url:
        from scratch_detector.device import retry, uploader

        uploader.OUTBOX = Path("box.db")
        uploader.TIMEOUT_S = 1
        retry.POLL_S, retry.BASE_S, retry.CAP_S = 0.02, 0.02, 0.2
        uploader.Uploader(queue, [1.0]).start()
    first = len(LOG.read_text().splitlines()) if LOG.exists() else 0
    with LOG.open("a") as log:
        for number in range(first, count):
            queue.put(event_id(number), json.dumps({"number": number, "more": "x" * 150}))
            log.write(f"{number}\n")
            log.flush()
            time.sleep(pause_s)
    print("all are put", flush=True)
    if scope.load_params().upload_url or "POWER_CUT" in os.environ:
        signal.pause()
    queue.close()


if __name__ == "__main__":
    device(int(sys.argv[1]), *sys.argv[2:3], pause_s=float(os.environ.get("PAUSE_S", "0")))
