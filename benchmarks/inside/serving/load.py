"""Load generator: request predictions as fast as the server answers, and check each answer.

`load.py PORT PAYLOAD CONTENT_TYPE LABEL` runs as a separate process. Each input line `CLIENTS
SECONDS` starts that many clients for that long, each with one connection and one request at a time,
and prints one line of JSON. It shares the cores with the server, so it is minimal: raw HTTP/1.1 on
asyncio protocols, one write and one read for most requests.
"""

import asyncio
import gc
import json
import re
import sys
import time
from pathlib import Path

PROMPTLY_S = 30
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNK = re.compile(rb"[0-9a-f]+\r\n(.+)\r\n0\r\n\r\n", re.IGNORECASE | re.DOTALL)


def body_of(answer: bytes) -> bytes | None:
    """Return the body once it is complete. A chunked body must be a single chunk."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if length := LENGTH.search(head):
        return rest if len(rest) >= int(length[1]) else None
    chunk = CHUNK.fullmatch(rest)
    return chunk[1] if chunk else None


class Client(asyncio.Protocol):
    """One connection; `done` is set when time is up, or to the error of a wrong answer."""

    def __init__(self, request: bytes, label: str, until: float, took_s: list[float]) -> None:
        self.request, self.label, self.until, self.took_s = request, label, until, took_s
        self.answer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask()

    def _ask(self) -> None:
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        body = body_of(self.answer)
        if body is None:
            return
        now = time.perf_counter()
        self.took_s.append(now - self.asked)
        if not self.answer.startswith(b"HTTP/1.1 200") or json.loads(body)["label"] != self.label:
            self._end(f"Wrong answer: {self.answer!r}")
        elif now >= self.until:
            self._end()
        else:
            self.answer = b""
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"The server closed the connection: {error}, {self.answer!r}")

    def _end(self, wrong: str = "") -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(wrong)) if wrong else self.done.set_result(None)
        self.transport.close()


async def ask(port: int, request: bytes, label: str, clients: int, seconds: float) -> str:
    """Run one round; return counts and latency percentiles as JSON."""
    loop, took_s = asyncio.get_running_loop(), list[float]()
    start, cpu = time.perf_counter(), time.process_time()
    made = [
        loop.create_connection(
            lambda: Client(request, label, start + seconds, took_s), "127.0.0.1", port
        )
        for _ in range(clients)
    ]
    ends = [client.done for _, client in await asyncio.gather(*made)]
    async with asyncio.timeout(seconds + PROMPTLY_S):
        await asyncio.gather(*ends)
    wall, cpu, n = time.perf_counter() - start, time.process_time() - cpu, len(took_s)
    took_s.sort()
    times = {f"p{p}_ms": 1000 * took_s[min(n * p // 100, n - 1)] for p in (50, 95, 99)}
    found = {"requests": n, "per_s": n / wall, "client_cpu_ms": 1000 * cpu / n}
    return json.dumps(found | times)


if __name__ == "__main__":
    port, payload, kind, label = sys.argv[1:]
    content = Path(payload).read_bytes()
    words = f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n"
    request = words.encode() + b"content-length: %d\r\n\r\n%b" % (len(content), content)
    gc.disable()
    for line in sys.stdin:
        clients, seconds = line.split()
        print(asyncio.run(ask(int(port), request, label, int(clients), float(seconds))), flush=True)
        gc.collect()
