"""Clients take turns: what each of them has in the queue, and who is next."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from statistics import median
from typing import Generic, TypeVar

# Odd: the median is then one of the values. Few: the median follows a changing load.
MEASUREMENTS = 9
# Clients whose times are remembered, at about 500 bytes each. Those with requests stay.
MAX_CLIENTS = 1000
SEVERAL_S = 10.0  # after a request of another client, so long a client does not have all decoders
# Before the first payload of a client: long enough to decode it in a thread.
UNKNOWN_S = 0.002
Item = TypeVar("Item")


class RollingMedian:
    """Median of the latest measurements in seconds; a single stall does not change it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._latest = deque([seconds], MEASUREMENTS)

    def add(self, seconds: float) -> None:
        self._latest.append(seconds)
        self.seconds = median(self._latest)

    @property
    def slowest_s(self) -> float:
        return max(self._latest)


class ClientLoad(RollingMedian):
    """The requests of one client that have no response yet, and the time to decode one."""

    def __init__(self, client: str) -> None:
        super().__init__(UNKNOWN_S)
        self.client = client
        self.requests = 0
        self.bytes = 0


class Clients:
    """The load of all clients."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self._known: dict[str, ClientLoad] = {}
        self._busy: dict[str, ClientLoad] = {}
        self._latest = ""
        self._several_until_s = 0.0

    @property
    def are_several(self) -> bool:
        """Whether more than one client has sent requests in the last seconds."""
        return time.monotonic() < self._several_until_s

    def find(self, client: str) -> ClientLoad:
        if client != self._latest:
            if self._latest:
                self._several_until_s = time.monotonic() + SEVERAL_S
            self._latest = client
        load = self._known.get(client)
        if load is None:
            load = self._known[client] = self._busy.get(client) or ClientLoad(client)
            if len(self._known) > MAX_CLIENTS:
                del self._known[next(iter(self._known))]
        return load

    def wait_s(self, load: ClientLoad, run_s: float) -> float:
        """Return how long one more request of a client takes, if all clients take turns."""
        turns = load.requests + 1
        if len(self._busy) <= 1 and (not self._busy or load.requests):
            return turns * (run_s + load.seconds)
        others = [other for other in self._busy.values() if other is not load]
        before = sum(min(other.requests, turns) for other in others)
        return (turns + before) * run_s + turns * load.seconds * max(1, len(others))

    def enter(self, load: ClientLoad, payload_bytes: int) -> None:
        self.requests += 1
        self.bytes += payload_bytes
        load.requests += 1
        load.bytes += payload_bytes
        self._busy[load.client] = load

    def leave(self, load: ClientLoad, payload_bytes: int) -> None:
        self.requests -= 1
        self.bytes -= payload_bytes
        load.requests -= 1
        load.bytes -= payload_bytes
        if not load.requests:
            del self._busy[load.client]


class Turns(Generic[Item]):
    """A queue in which clients take turns; the items of one client keep their order."""

    def __init__(self) -> None:
        self._items: dict[str, deque[Item]] = {}  # the first client is next
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, client: str, item: Item) -> None:
        self._items.setdefault(client, deque()).append(item)
        self._length += 1

    def has(self, client: str) -> bool:
        return client in self._items

    @property
    def first(self) -> Item:
        return next(iter(self._items.values()))[0]

    def popleft(self) -> Item:
        return self.pop(next(iter(self._items)))

    def pop(self, client: str) -> Item:
        """Remove the oldest item of a client, which is last in turn then."""
        items = self._items.pop(client)
        item = items.popleft()
        if items:
            self._items[client] = items
        self._length -= 1
        return item

    def next_client(self, may: Callable[[str], bool]) -> str | None:
        """Return the next client for which a condition holds."""
        return next((client for client in self._items if may(client)), None)

    def __iter__(self) -> Iterator[Item]:
        return (item for items in self._items.values() for item in items)
