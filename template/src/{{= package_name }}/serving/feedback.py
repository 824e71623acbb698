"""Routes for late labels (`POST /feedback`) and for deletion (`DELETE /requests/{id}`)."""

import sqlite3
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, Field, ValidationError

from ..monitoring.labelled_quality import LABELS, LAST_LABEL
from ..refusal import Refusal, parse_json
from .inference import ERRORS, REQUEST_ID, read_body, refuse, refuse_busy, require_key
from .journal import LabelledPrediction
from .state import ServerState, state_of

RETRY_AFTER_FULL_DISK_S = 60
MAX_BYTES = 10_000  # an id, a label and a slice; generous for long labels
EXAMPLE = {"id": "4f0c6f5f", "label": "the correct label", "slice": "camera-2"}
PATTERN = f"^{REQUEST_ID.pattern}$"
router = APIRouter(dependencies=[Depends(require_key)])


class Feedback(BaseModel):
    """The correct label of a request and, optionally, the slice that the request belongs to."""

    id: str = Field(pattern=PATTERN)
    label: str
    slice: str = Field("", pattern=f"{PATTERN}|^$")


SCHEMA = {"schema": Feedback.model_json_schema()}
BODY = {"requestBody": {"required": True, "content": {"application/json": SCHEMA}}}
STATUSES = ERRORS | {404: "nothing is stored under this id"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": STATUSES[status]} for status in (401, 404, 408, 413, 422, 503)
}


class Joined(BaseModel):
    """Whether the request is known. If not, the label is stored anyway."""

    joined: bool


class Forgotten(BaseModel):
    """Number of rows deleted from the journal."""

    rows: int


@router.post("/feedback", openapi_extra=BODY, responses=RESPONSES)
async def feedback(request: Request) -> Joined:
    """Store the correct label of a request; a later label replaces an earlier one."""
    state = state_of(request)
    body = await read_body(request, MAX_BYTES)
    try:
        sent = Feedback.model_validate_json(body)
        parse_json(body)
    except Refusal as refusal:
        raise refuse(422, refusal) from None
    except ValidationError as error:
        raise refuse(422, Refusal.from_validation(error, EXAMPLE)) from None
    labels = state.served.model.predictor.labels
    if sent.label not in labels:
        rule = f"a label of the model: {', '.join(labels)}"
        raise refuse(422, Refusal("label", sent.label, rule, labels[0]))
    try:
        labelled = await state.journal.label(sent.id, sent.label, sent.slice)
    except sqlite3.Error:  # most likely a full disk
        raise refuse_busy(RETRY_AFTER_FULL_DISK_S) from None
    LABELS.labels("yes" if labelled else "no").inc()
    if labelled:
        record_label(state, labelled)
    return Joined(joined=labelled is not None)


def record_label(state: ServerState, labelled: LabelledPrediction) -> None:
    """Add a label to the window of the model that made the prediction, if it still runs."""
    LAST_LABEL.set(labelled.time_s)
    trial = state.trial
    for served in [state.served, trial.challenger] if trial else [state.served]:
        if served.sha256 == labelled.model_sha256:
            served.labelled.add(
                labelled.truth, labelled.prediction, labelled.confidence, labelled.slice
            )
    if trial and trial.challenger.sha256 == labelled.model_sha256:
        trial.observe_label(labelled.truth == labelled.prediction)
    state.served.labelled.show()  # the slice may be new


@router.delete("/requests/{id}", responses=RESPONSES)
async def forget(request: Request, id: str) -> Forgotten:
    """Delete all stored data of a request, including its label."""
    await read_body(request, 0)
    if rows := await state_of(request).journal.forget(id):
        return Forgotten(rows=rows)
    raise HTTPException(404, [Refusal("id", id, "the id of a stored request", "...").detail])
