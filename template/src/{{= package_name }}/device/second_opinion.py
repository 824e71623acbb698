"""Second opinions: payloads with a low confidence are also sent to the prediction server.

The device never waits for the reply. It sends both predictions to the collector under the id that
the server uses for the payload, so that disagreements can be labelled and used for training.
"""

import base64
import hashlib
import json
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError

from prometheus_client import Counter
from pydantic import Field, SecretStr

from ..scope import load_params, load_scope
from ..settings import Settings
from ..task.features import CONTENT_TYPES
from .json_http import post
from .outbox import Outbox
from .retry import keep_working

UNSURE = Path("data/unsure.db")
# A payload may take at most 1/8 of the queue, or one large payload would displace many.
MAX_SHARE = 1 / 8
# Also sent to the server, which then drops a request that it cannot answer in time.
TIMEOUT_S = 10
# With these statuses the server rejects the payload itself, so a retry would fail again.
PERMANENT_REFUSALS = (400, 413, 415, 422)
OPINIONS = Counter(
    "second_opinions", "Second opinions, by outcome of the request to the server", ["outcome"]
)


class SecondOpinionSettings(Settings):
    """Variables of second opinions."""

    server_key: SecretStr = Field(
        SecretStr(""), description="API key for the prediction server, sent as `x-api-key`."
    )


class SecondOpinion(Thread):
    """A thread that sends queued payloads to the server; set `stop` to end it."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(daemon=True)  # a hanging connection does not keep the process alive
        self.stop = Event()
        self._outbox = outbox
        self._max_mb = load_params().unsure_mb
        self._unsure = Outbox(self._max_mb, UNSURE)

    def consider(self, payload: bytes, decision: dict[str, Any]) -> None:
        """Queue a payload for the server if the model was unsure, late or failed."""
        had_answer = decision.get("fail_safe") not in ("late", "failed")
        if had_answer and decision.get("confidence", 1) >= load_scope().ask_server_below:
            return
        body = json.dumps({"payload": base64.b64encode(payload).decode(), "decision": decision})
        if len(body) > self._max_mb * 1e6 * MAX_SHARE:
            OPINIONS.labels("too_large").inc()
        else:
            self._unsure.put(decision["id"], body)

    def run(self) -> None:
        keep_working(self.stop, self.ask, lambda _: OPINIONS.labels("unanswered").inc())

    def ask(self) -> bool:
        """Send the oldest payload to the server, and return whether there was one.

        Raises:
            OSError: no reply, or an error that a retry may resolve.
            ValueError: the reply is not JSON.
            KeyError: the reply has no label.
        """
        waiting = self._unsure.oldest(1)
        for seq, id, body in waiting:
            queued = json.loads(body)
            try:
                prediction = _ask_server(id, base64.b64decode(queued["payload"]))
            except HTTPError as error:
                if error.code not in PERMANENT_REFUSALS:
                    raise
                outcome = "refused"
            else:
                outcome = self._record(id, queued["decision"], prediction)
            self._unsure.acknowledge(seq)
            OPINIONS.labels(outcome).inc()
        return bool(waiting)

    def _record(self, id: str, decision: dict[str, Any], prediction: dict[str, Any]) -> str:
        """Put both predictions into the outbox; return `agreed` or `disagreed`."""
        outcome = "agreed" if prediction["label"] == decision["label"] else "disagreed"
        opinion = {key: prediction[key] for key in ("label", "confidence", "model_sha256")}
        event = decision | {"outcome": outcome, "second_opinion": opinion}
        # The time distinguishes events of the same payload.
        event_id = hashlib.sha256(f"second {id} {decision['time']}".encode()).hexdigest()
        self._outbox.put(event_id, json.dumps(event))
        return outcome


def _ask_server(id: str, payload: bytes) -> dict[str, Any]:
    headers = {
        "content-type": next(iter(CONTENT_TYPES)),
        "x-api-key": SecondOpinionSettings.read().server_key.get_secret_value(),
        "x-request-id": id,
        "x-timeout-ms": str(1000 * TIMEOUT_S),
    }
    prediction: dict[str, Any] = post(load_params().server_url, payload, headers, TIMEOUT_S)
    return prediction
