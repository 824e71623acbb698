"""Ray Serve: one replica, batches of at most 8 without waiting, and its throughput settings."""

import os
import signal

import ray
from ray import serve
from shared import HOST, MAX_BATCH, PORT, Answer, Model
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=100)
class Peer:
    def __init__(self) -> None:
        listen_here_only()
        self.model = Model()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=0)
    async def answers(self, payloads: list[bytes]) -> list[Answer]:
        return self.model.answers(payloads)

    async def __call__(self, request: Request) -> Answer:
        return await self.answers(await request.body())


def listen_here_only() -> None:
    """Bind the replica to HOST only; by default, Ray opens its port on every interface."""
    from ray.serve._private import replica

    add = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, _: add(server, f"{HOST}:0")


if __name__ == "__main__":
    folder = os.environ["RAY_TMPDIR"]
    ray.init("local", include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    serve.start(http_options={"host": HOST, "port": PORT, "access_log": False})
    serve.run(Peer.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
