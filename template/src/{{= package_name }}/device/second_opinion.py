"""Second opinions: payloads of doubtful decisions are also sent to the prediction server.

The device never waits for the reply. It sends both predictions to the collector under the id that
the server uses for the payload, so that disagreements can be labelled and used for training.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from prometheus_client import Counter
from pydantic import Field, SecretStr

from ..problem.answer import is_same
from ..problem.doubt import SecondAnswer, is_doubtful
from ..scope import load_params, load_scope
from ..settings import Settings
from ..task.features import CONTENT_TYPES
from .json_http import post
from .outbox import Outbox, QueuedEvent
from .report import log
from .retry import LastingThread, keep_working
from .settings import read_key

UNSURE = Path("data/unsure.db")
# A payload may take at most 1/8 of the queue, or one large payload would displace many.
MAX_SHARE = 1 / 8
# Also sent to the server, which then drops a request that it cannot answer in time.
TIMEOUT_S = 10
# With these statuses the server rejects the payload itself, so a retry would fail again.
PERMANENT_REFUSALS = (400, 413, 415, 422)
# With these, a proxy says that no server is there, or the key or the address is wrong.
NOT_OF_THE_PAYLOAD = (401, 403, 404, 407, 429, 502, 504)
TRIES = 3  # of one payload, before the others go first
MAX_TRIES = 9
OPINIONS = Counter(
    "second_opinions", "Second opinions, by outcome of the request to the server", ["outcome"]
)


class SecondOpinionSettings(Settings):
    """Variables of second opinions."""

    server_key: SecretStr = Field(
        SecretStr(""), description="API key for the prediction server, sent as `x-api-key`."
    )
    server_key_file: str = Field(
        "",
        description="File with this key, instead of SERVER_KEY. It is read for each request.",
        examples=["/run/secrets/server_key"],
    )


class Prediction(SecondAnswer):
    """The part of the server's reply that is recorded."""

    model_sha256: str = Field(max_length=64)


class SecondOpinion(LastingThread):
    """A thread that sends queued payloads to the server; set `stop` to end it."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__("second opinions")
        self._outbox = outbox
        self._max_mb = load_params().unsure_mb
        self.unsure = Outbox(self._max_mb, UNSURE, may_use_memory=True)
        self._tries: dict[str, int] = {}  # failed ones, by payload
        self._answered: set[str] = set()  # failed payloads after which another one was answered

    def consider(self, payload: bytes, decision: dict[str, Any]) -> None:
        """Queue a payload for the server if the model was unsure, late or failed."""
        if not payload:  # the file was not read
            return
        had_answer = decision.get("fail_safe") not in ("late", "failed")
        if had_answer and not is_doubtful(decision, load_scope()):
            return
        body = json.dumps({"payload": base64.b64encode(payload).decode(), "decision": decision})
        if len(body) > self._max_mb * 1e6 * MAX_SHARE:
            OPINIONS.labels("too_large").inc()
        else:
            self.unsure.put(decision["id"], body)

    def work(self) -> None:
        keep_working(self.stop, self.ask, lambda _: OPINIONS.labels("unanswered").inc(), "Asking")

    def ask(self) -> bool:
        """Send the oldest payload to the server, and return whether there was one.

        Raises:
            OSError: no reply, or an error that a retry may resolve.
            ValueError: the reply is not JSON, or not a prediction.
        """
        waiting = self.unsure.oldest(1)
        for event in waiting:
            try:
                queued = json.loads(event.body)
                payload = base64.b64decode(queued["payload"])
                decision = queued["decision"] | {}
            except (ValueError, KeyError, TypeError, RecursionError):
                outcome = "damaged"
            else:
                outcome = self._ask_about(event, payload, decision)
            self.unsure.acknowledge(event.seq)
            self._tries.pop(event.id, None)
            OPINIONS.labels(outcome).inc()
        return bool(waiting)

    def _ask_about(self, event: QueuedEvent, payload: bytes, decision: dict[str, Any]) -> str:
        """Return the outcome, if there is a final one."""
        try:
            prediction = Prediction.model_validate(_ask_server(event.id, payload)).model_dump()
        except HTTPError as error:
            if error.code in PERMANENT_REFUSALS:
                return "refused"
            if error.code not in NOT_OF_THE_PAYLOAD and self._has_failed_too_often(event):
                return "failed"
            raise
        except URLError:  # no connection
            raise
        except (OSError, ValueError):  # a connection, but no reply or not a prediction
            if self._has_failed_too_often(event):
                return "failed"
            raise
        self._answered |= self._tries.keys() - {event.id}
        return self._record(event.id, decision, prediction)

    def _has_failed_too_often(self, event: QueuedEvent) -> bool:
        """Count a try; every `TRIES` times, let the payload wait behind the others.

        It is given up only if the server has answered another one since: then it is not down.
        """
        tries = self._tries[event.id] = self._tries.get(event.id, 0) + 1
        if tries >= MAX_TRIES and event.id in self._answered:
            self._answered.discard(event.id)
            log(f"The server failed {tries} times on the payload {event.id}. It is given up.")
            return True
        if tries % TRIES == 0 and self.unsure.depth() > 1:
            self.unsure.move_to_end(event)
        return False

    def _record(self, id: str, decision: dict[str, Any], prediction: dict[str, Any]) -> str:
        """Put both predictions into the outbox; return `agreed` or `disagreed`."""
        has_agreed = is_same(prediction, decision, load_scope())
        outcome = "agreed" if has_agreed else "disagreed"
        event = decision | {"outcome": outcome, "second_opinion": prediction}
        # The time distinguishes events of the same payload.
        event_id = hashlib.sha256(f"second {id} {decision.get('time')}".encode()).hexdigest()
        self._outbox.put(event_id, json.dumps(event))
        return outcome


def _ask_server(id: str, payload: bytes) -> dict[str, Any]:
    settings = SecondOpinionSettings.read()
    headers = {
        "content-type": next(iter(CONTENT_TYPES)),
        "x-api-key": read_key("SERVER_KEY", settings.server_key, settings.server_key_file),
        "x-request-id": id,
        "x-timeout-ms": str(1000 * TIMEOUT_S),
    }
    prediction: dict[str, Any] = post(load_params().server_url, payload, headers, TIMEOUT_S)
    return prediction
