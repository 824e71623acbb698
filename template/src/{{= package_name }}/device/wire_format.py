"""What a device sends: JSON lines, its telemetry first, then one event each."""

import json
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from ..refusal import Refusal
from ..settings import PACKAGE

MAX_BATCH_BYTES = 1_000_000
Line = TypeVar("Line", bound=BaseModel)


class Telemetry(BaseModel, frozen=True, allow_inf_nan=False):
    """How a device does; None is what it does not know yet. Fields of later versions pass."""

    device: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    version: str = Field(max_length=64)
    model_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    latency_p95_ms: float | None = Field(description="95 of 100 recent decisions were faster")
    drift_score_max: float | None = Field(description="Worst drift score; 1 is the alarm line")
    disk_free_bytes: int = Field(description="Free on the disk of its outbox")
    outbox_depth: int = Field(description="Decisions that waited when it reported")
    outbox_dropped: int = Field(description="Decisions that had to make room, ever")
    model_current_timestamp_seconds: float | None = Field(
        None, description="When its model was known to be the newest: last look, or its training"
    )


class Event(BaseModel, frozen=True):
    """One decision, and the id by which the collector knows it when it comes again."""

    id: str = Field(pattern="^[0-9a-f]{64}$")
    decision: dict[str, Any]


def from_lines(body: bytes) -> tuple[Telemetry, list[Event]]:
    """Read a batch.

    Raises:
        Refusal: a line breaks a rule; the field is `line 1: device`, for example.
    """
    first, *others = body.split(b"\n")
    events = [_read(Event, line, n) for n, line in enumerate(others, start=2) if line]
    return _read(Telemetry, first, 1), events


def _read(kind: type[Line], line: bytes, number: int) -> Line:
    try:
        return kind.model_validate(json.loads(line))
    except ValidationError as error:
        wrong = error.errors()[0]
        field, found, rule = ".".join(map(str, wrong["loc"])), wrong["input"], wrong["msg"].lower()
    except (ValueError, RecursionError) as error:
        field, found, rule = "json", line, str(error)
    raise Refusal(f"line {number}: {field}", found, rule, ", ".join(kind.model_fields))


def uplink(module: str) -> ModuleType:
    """Import what speaks MQTT on one side or the other; only some projects have it.

    Raises:
        SystemExit: this one does not, or what it needs is not installed.
    """
    try:
        return import_module(f".{module}", PACKAGE)
    except ModuleNotFoundError as error:
        wrong = f"upload_url names a broker, but {error}. `uplink` has to be answered with mqtt"
        raise SystemExit(f"{wrong}, and `make setup` run.") from None
