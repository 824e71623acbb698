"""Labels that come later, and requests that have to be forgotten, by the id of the request."""

import sqlite3
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import State

from ..monitoring.labelled_quality import LABELS, LAST
from ..refusal import Refusal
from .canary import Trial
from .inference import REQUEST_ID, WHY, busy, read, refused
from .journal import Journal, Labelled

FULL_S = 60
router = APIRouter()


MAX_BYTES = 10_000
EXAMPLE = {"id": "4f0c6f5f", "label": "the label that was right", "slice": "camera-2"}
PATTERN = f"^{REQUEST_ID.pattern}$"


class Feedback(BaseModel):
    """The id of an answer, the label that was right, and the slice it belongs to, if any."""

    id: str = Field(pattern=PATTERN)
    label: str
    slice: str = Field("", pattern=f"{PATTERN}|^$")


SCHEMA = {"schema": Feedback.model_json_schema()}
BODY = {"requestBody": {"required": True, "content": {"application/json": SCHEMA}}}
STATUSES = WHY | {404: "nothing is kept under this id"}
REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"description": STATUSES[status]} for status in (401, 404, 408, 413, 422, 503)
}


class Joined(BaseModel):
    """Whether the request is known here; if not, the label is kept until it is."""

    joined: bool


class Forgotten(BaseModel):
    """How many rows of the journal were deleted."""

    rows: int


@router.post("/feedback", openapi_extra=BODY, responses=REFUSED)
async def feedback(request: Request) -> Joined:
    """Take the right label of a request; told twice, the last one counts."""
    body, state = await read(request, MAX_BYTES), request.app.state
    try:
        told = Feedback.model_validate_json(body)
    except ValidationError as error:
        raise refused(422, Refusal.from_validation(error, EXAMPLE)) from None
    known = state.served.model.predictor.labels
    if told.label not in known:
        rule = f"a label of the model: {', '.join(known)}"
        raise refused(422, Refusal("label", told.label, rule, known[0]))
    journal: Journal = state.journal
    try:
        labelled = await journal.label(told.id, told.label, told.slice)
    except sqlite3.Error:  # a full disk, most likely
        raise busy(FULL_S) from None
    LABELS.labels("yes" if labelled else "no").inc()
    if labelled:
        count_in(state, labelled)
    return Joined(joined=labelled is not None)


def count_in(state: State, told: Labelled) -> None:
    """Show a label to the model that gave the answer, if it still answers."""
    LAST.set(told.time_s)
    trial: Trial | None = state.trial
    for served in [state.served, trial.challenger] if trial else [state.served]:
        if served.model.predictor.sha256 == told.model_sha256:
            served.labelled.add(told.truth, told.answer, told.confidence, told.slice)
    if trial and trial.challenger.model.predictor.sha256 == told.model_sha256:
        trial.judge(told.truth == told.answer)
    state.served.labelled.show()  # the slice may be new


@router.delete("/requests/{id}", responses=REFUSED)
async def forget(request: Request, id: str) -> Forgotten:
    """Delete what is kept of a request, and its label."""
    await read(request, 0)
    journal: Journal = request.app.state.journal
    if rows := await journal.forget(id):
        return Forgotten(rows=rows)
    raise HTTPException(404, [Refusal("id", id, "an id that is kept here", "...").detail])
