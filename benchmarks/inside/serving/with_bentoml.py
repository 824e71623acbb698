"""BentoML with adaptive batching, at most 8 per batch: `bentoml serve with_bentoml:Peer`.

Batched methods of BentoML take lists as JSON or forms. `Body` passes raw bytes in the same process;
the documented alternative, a second service in front, would cost an extra hop.
"""

from typing import Any

import bentoml
from _bentoml_sdk.io_models import IORootModel
from shared import HOST, MAX_BATCH, PORT, Answer, Model
from starlette.requests import Request
from starlette.responses import JSONResponse

MAX_LATENCY_MS = 1000


class Body(IORootModel[Any]):
    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> "Body":
        return cls([await request.body()])


class Only(IORootModel[Any]):
    @classmethod
    async def to_http_response(cls, obj: list[Answer], serde: object) -> JSONResponse:
        return JSONResponse(obj[0])


Body.__root_input__ = True


@bentoml.service(http={"host": HOST, "port": PORT}, logging={"access": {"enabled": False}})
class Peer:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(
        batchable=True,
        max_batch_size=MAX_BATCH,
        max_latency_ms=MAX_LATENCY_MS,
        input_spec=Body,
        output_spec=Only,
    )
    def predict(self, payloads: list[bytes]) -> list[Answer]:
        return self.model.answers(payloads)
