"""A plain FastAPI server: a sync endpoint without batching, in one process."""

from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI
from shared import HOST, PORT, Answer, Model

app = FastAPI()
model = Model()


@app.post("/predict")
def predict(payload: Annotated[bytes, Body(media_type="image/png")]) -> Answer:
    return model.answers([payload])[0]


uvicorn.run(app, host=HOST, port=PORT, log_level="warning")
