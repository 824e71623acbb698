"""What the parts of one server share while it runs."""

from dataclasses import dataclass, field

from fastapi import Request
from prometheus_client import Histogram

from ..scope import Scope
from .batching import DynamicBatcher
from .canary import Trial
from .champion import Served
from .journal import Journal


@dataclass(eq=False)
class ServerState:
    """Everything that requests read or change; only the event loop changes it."""

    scope: Scope
    keys: list[bytes]  # known API keys; empty means that every client may ask
    served: Served  # the champion
    journal: Journal
    latency: Histogram
    batcher: DynamicBatcher = field(default_factory=DynamicBatcher)
    trial: Trial | None = None  # a challenger that runs beside the champion
    is_draining: bool = False
    bodies_bytes: int = 0  # of all requests that are being read


def state_of(request: Request) -> ServerState:
    """Return the state of the server that a request came to."""
    state: ServerState = request.app.state.server
    return state
