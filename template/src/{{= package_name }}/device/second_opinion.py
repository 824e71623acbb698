"""Second opinions: what the device was unsure of, a server answers too, when there is one.

The device never waits for it. What the server says goes to the collector, under the id by which the
server knows the payload, so that a disagreement can be labelled and learned from.
"""

import base64
import hashlib
import json
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prometheus_client import Counter
from pydantic import Field, SecretStr

from ..scope import load_params, load_scope
from ..settings import Settings
from ..task.features import CONTENT_TYPES
from .outbox import Outbox
from .uploader import POLL_S, TIMEOUT_S, backoff_s

UNSURE = Path("data/unsure.db")
MAX_REPLY_BYTES = 100_000
FAIR_SHARE = 1 / 8  # of the file, for one payload: a larger one would push out too many
FINAL = (400, 413, 415, 422)  # statuses with which the server refuses this payload for ever
OPINIONS = Counter("second_opinions", "What the server said to unsure decisions", ["outcome"])


class SecondOpinionSettings(Settings):
    """Variables of the second opinions."""

    server_key: SecretStr = Field(
        SecretStr(""), description="API key to send to the server as `x-api-key`."
    )


class SecondOpinion(Thread):
    """A thread that asks for as long as the process lives; set `stop` to end it."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(daemon=True)  # a network that hangs keeps no process alive
        self.stop, self._outbox, self._max_mb = Event(), outbox, load_params().unsure_mb
        self._unsure = Outbox(self._max_mb, UNSURE)

    def consider(self, payload: bytes, decision: dict[str, Any]) -> None:
        """Keep a payload for the server if the device was unsure, or had no answer."""
        had_answer = decision.get("fail_safe") not in ("late", "failed")
        if had_answer and decision.get("confidence", 1) >= load_scope().ask_server_below:
            return
        body = json.dumps({"payload": base64.b64encode(payload).decode(), "decision": decision})
        if len(body) > self._max_mb * 1e6 * FAIR_SHARE:
            OPINIONS.labels("too_large").inc()
        else:
            self._unsure.put(decision["id"], body)

    def run(self) -> None:
        """Ask until stopped; without an answer ask again, later and later."""
        failures, pause_s = 0, 0.0
        while not self.stop.wait(pause_s):
            try:
                pause_s, failures = (0.0 if self.ask() else POLL_S), 0
            except (OSError, ValueError, KeyError):  # no network, no server, or another one
                OPINIONS.labels("unanswered").inc()
                pause_s = backoff_s(failures)
                failures += 1

    def ask(self) -> bool:
        """Ask about the oldest payload, and say whether there was any.

        Raises:
            OSError: no answer, or one that is not about the payload.
            ValueError: the answer is no JSON.
            KeyError: the answer has no label.
        """
        waiting = self._unsure.oldest(1)
        for seq, id, body in waiting:
            kept = json.loads(body)
            first, payload = kept["decision"], base64.b64decode(kept["payload"])
            try:
                second = _asked(id, payload)
                outcome = "agreed" if second["label"] == first["label"] else "disagreed"
                said = {key: second[key] for key in ("label", "confidence", "model_sha256")}
                event = first | {"outcome": outcome, "second_opinion": said}
                name = hashlib.sha256(f"second {id} {first['time']}".encode()).hexdigest()
                self._outbox.put(name, json.dumps(event))
            except HTTPError as error:
                if error.code not in FINAL:
                    raise
                outcome = "refused"
            self._unsure.acknowledge(seq)
            OPINIONS.labels(outcome).inc()
        return bool(waiting)


def _asked(id: str, payload: bytes) -> dict[str, Any]:
    headers = {
        "content-type": next(iter(CONTENT_TYPES)),
        "x-api-key": SecondOpinionSettings.read().server_key.get_secret_value(),
        "x-request-id": id,
        "x-timeout-ms": str(1000 * TIMEOUT_S),
    }
    request = Request(load_params().server_url, payload, headers)  # noqa: S310 (http or https only)
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        answer: dict[str, Any] = json.loads(response.read(MAX_REPLY_BYTES))
    return answer
