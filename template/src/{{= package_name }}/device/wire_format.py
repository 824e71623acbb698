"""What a device sends to its collector: JSON lines, its telemetry and then its events."""

import json
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from ..refusal import Refusal
from ..settings import PACKAGE

# A batch is 100 decisions of some 250 bytes. The limit is forty times that, for long file names and
# error messages; 100 devices that send at once still take only 100 MB of the collector's memory.
MAX_BATCH_BYTES = 1_000_000
Line = TypeVar("Line", bound=BaseModel)


class Telemetry(BaseModel, frozen=True, allow_inf_nan=False):
    """The state of a device; None is not known yet. Unknown fields, of later versions, are ignored.

    Each field with a description becomes a gauge of the collector, `device_<field>`.
    """

    device: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    version: str = Field(max_length=64)
    model_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    latency_p95_ms: float | None = Field(description="p95 latency of recent decisions, in ms")
    drift_score_max: float | None = Field(description="Highest drift score of its signals")
    disk_free_bytes: int = Field(description="Free space on the disk of its outbox")
    outbox_depth: int = Field(description="Decisions waiting to be sent")
    outbox_dropped: int = Field(description="Decisions dropped to make room, ever")
    model_current_timestamp_seconds: float | None = Field(
        None, description="Last successful update check, or else the training of its model"
    )


class Event(BaseModel, frozen=True):
    """One decision. A collector drops an event whose id it has already: it was sent twice."""

    id: str = Field(pattern="^[0-9a-f]{64}$")
    decision: dict[str, Any]


def format_batch(telemetry: Telemetry, events: Iterable[tuple[str, str]]) -> bytes:
    """Format events, each an id and the JSON of a decision, which is not parsed again."""
    lines = [telemetry.model_dump_json()]
    lines += [f'{{"id": "{id}", "decision": {decision}}}' for id, decision in events]
    return "\n".join(lines).encode()


def parse_batch(body: bytes) -> tuple[Telemetry, list[Event]]:
    """Parse a batch.

    Raises:
        Refusal: a line breaks a rule; the field is `line 1: device`, for example.
    """
    first, *others = body.split(b"\n")
    events = [_parse_line(Event, line, number) for number, line in enumerate(others, 2) if line]
    return _parse_line(Telemetry, first, 1), events


def _parse_line(kind: type[Line], line: bytes, number: int) -> Line:
    value: object
    try:
        return kind.model_validate(json.loads(line))
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(map(str, wrong["loc"]))
        value = wrong["input"]
        rule = wrong["msg"].lower()
    except (ValueError, RecursionError) as error:  # no JSON, or brackets nested 1000 deep
        field = "json"
        value = line
        rule = str(error)
    raise Refusal(f"line {number}: {field}", value, rule, ", ".join(kind.model_fields))


def import_mqtt(module: str) -> ModuleType:
    """Import `device.mqtt` or `fleet.mqtt`, which only projects with `uplink: mqtt` have.

    Raises:
        SystemExit: this project has none, or paho-mqtt is not installed.
    """
    try:
        return import_module(f".{module}", PACKAGE)
    except ModuleNotFoundError as error:
        wrong = f"upload_url names a broker, but {error}. `uplink` has to be answered with mqtt"
        raise SystemExit(f"{wrong}, and `make setup` run.") from None
