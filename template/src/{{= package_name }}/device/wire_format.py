"""The batch format from device to collector: JSON lines, first the telemetry, then events."""

import json
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from ..refusal import Refusal
from ..settings import PACKAGE

# A batch is 100 decisions of about 250 bytes. The limit of forty times that allows long file names
# and error messages; 100 devices sending at once take 100 MB of the collector's memory.
MAX_BATCH_BYTES = 1_000_000
# Whole numbers up to 2**53 are exact in JSON and in Prometheus.
Count = Annotated[int, Field(ge=0, le=2**53)]
Line = TypeVar("Line", bound=BaseModel)


class Telemetry(BaseModel, frozen=True, allow_inf_nan=False):
    """The state of a device; None means not known yet. Fields of later versions are ignored.

    The collector exports each field with a description as a gauge, `device_<field>`.
    """

    device: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    version: str = Field(max_length=64)
    model_sha256: str | None = Field(pattern="^[0-9a-f]{64}$")
    latency_p95_ms: float | None = Field(description="p95 latency of recent decisions, in ms")
    drift_score_max: float | None = Field(description="Highest drift score of its signals")
    disk_free_bytes: Count = Field(description="Free space on the disk of its outbox")
    outbox_depth: Count = Field(description="Decisions waiting to be sent")
    outbox_dropped: Count = Field(description="Decisions dropped since the outbox was created")
    model_current_timestamp_seconds: float | None = Field(
        None, description="Last successful update check, or the training of its model if later"
    )
    faults: Count = Field(
        default=0, description="Damaged files, ended threads and stuck inputs since its start"
    )
    # The loop's random id and the number of its report: an earlier report does not replace a later
    # one, whatever the clocks say. Devices of 0.2 send neither.
    run: str = Field(default="", pattern="^[0-9a-f]{0,16}$")
    number: Count = 0


class Event(BaseModel, frozen=True):
    """One decision. The collector drops an event whose id it already has."""

    id: str = Field(pattern="^[0-9a-f]{64}$")
    decision: dict[str, Any]


def format_batch(telemetry: Telemetry, events: Iterable[tuple[str, str]]) -> bytes:
    """Format a batch; each event is an id and the JSON of a decision."""
    lines = [telemetry.model_dump_json()]
    lines += [f'{{"id": "{id}", "decision": {decision}}}' for id, decision in events]
    return "\n".join(lines).encode()


def parse_batch(body: bytes) -> tuple[Telemetry, list[Event]]:
    """Parse a batch.

    Raises:
        Refusal: a line is invalid; the field is `line 1: device`, for example.
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
    except (ValueError, RecursionError) as error:  # not JSON, or brackets nested 1000 deep
        field = "json"
        value = line
        rule = str(error)
    raise Refusal(f"line {number}: {field}", value, rule, ", ".join(kind.model_fields))


def import_transport(package: str, url: str) -> ModuleType | None:
    """Import the module of `device` or `fleet` for the scheme of a URL; None for HTTP.

    Raises:
        SystemExit: this project has no such module, or its library is not installed.
    """
    scheme = urlsplit(url).scheme.removesuffix("s")
    if scheme in ("", "http"):
        return None
    try:
        return import_module(f".{package}.{scheme}", PACKAGE)
    except ModuleNotFoundError as error:
        raise SystemExit(f"Cannot use {url}: {error}. Run `make setup`.") from None
