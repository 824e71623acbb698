"""LitServe: one process for HTTP, one for the model, at most 8 requests per batch."""

from typing import Annotated

import litserve
from fastapi import Depends, Request
from shared import HOST, MAX_BATCH, PORT, Answer, Model

# With the default 0, the worker polls the empty queue and occupies a core.
WAIT_S = 0.001


async def body(request: Request) -> bytes:
    """Read raw bytes; LitServe's default is JSON or forms."""
    return await request.body()


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = Model()

    def decode_request(self, request: Annotated[bytes, Depends(body)]) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, x: list[bytes]) -> list[Answer]:
        return self.model.answers(x)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output


if __name__ == "__main__":
    api = Api(max_batch_size=MAX_BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host=HOST, port=PORT, log_level="warning", generate_client_file=False)
