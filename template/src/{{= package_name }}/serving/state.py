"""The shared state of one server process."""

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
    """State that requests read or change. Only the event loop changes it."""

    scope: Scope
    keys: list[bytes]  # valid API keys; empty if no key is required
    served: Served  # the champion
    journal: Journal
    latency: Histogram
    batcher: DynamicBatcher = field(default_factory=DynamicBatcher)
    trial: Trial | None = None  # a challenger running next to the champion
    is_draining: bool = False
    bodies_bytes: int = 0  # of all requests that are being read
    missed_since_s: dict[str, float] = field(default_factory=dict)  # Unix time, by limit


def state_of(request: Request) -> ServerState:
    """Return the state of the server that received the request."""
    state: ServerState = request.app.state.server
    return state
