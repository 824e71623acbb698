"""Routes for late labels (`POST /feedback`) and for deletion (`DELETE /requests/{id}`)."""

import asyncio
import sqlite3
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, Field, ValidationError

from ..monitoring.labelled_quality import LABELS, LAST_LABEL
from ..problem import answer
from ..problem.answer import Answer
from ..refusal import Refusal, parse_json
from ..scope import load_params
from .champion import Served
from .inference import (
    ERRORS,
    REQUEST_ID,
    log,
    read_body,
    refuse,
    refuse_busy,
    refuse_simple_type,
    require_key,
)
from .journal_file import LabelledPrediction, UnknownLabel
from .state import ServerState, state_of

RETRY_AFTER_S = 10  # the disk is full, or another process has locked the journal
FOLLOW_EVERY_S = 10
MAX_BYTES = 10_000  # an id, a label and a slice; generous for long labels
EXAMPLE = {"id": "4f0c6f5f", **answer.EXAMPLE, "slice": "camera-2"}
PATTERN = f"^{REQUEST_ID.pattern}$"
router = APIRouter(dependencies=[Depends(require_key)])


class _WithId(BaseModel):
    id: str = Field(pattern=PATTERN)


class Feedback(Answer, _WithId):
    """The correct label of a request and, optionally, the slice that the request belongs to."""

    slice: str = Field("", pattern=f"{PATTERN}|^$")


SCHEMA = {"schema": Feedback.model_json_schema()}
BODY = {"requestBody": {"required": True, "content": {"application/json": SCHEMA}}}
STATUSES = ERRORS | {404: "nothing is stored under this id"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": STATUSES[status]} for status in (401, 404, 408, 413, 415, 422, 503)
}


class Joined(BaseModel):
    """Whether the request is known. If not, the label is stored anyway."""

    joined: bool


class Forgotten(BaseModel):
    """Number of rows deleted from the journal, and why a copy of them is left for now, if any."""

    rows: int
    not_yet: str = ""


DELETE_RESPONSES = RESPONSES | {
    202: {"model": Forgotten, "description": "deleted, but not yet gone"}
}


@router.post("/feedback", openapi_extra=BODY, responses=RESPONSES)
async def feedback(request: Request) -> Joined:
    """Store the correct label of a request; a later label replaces an earlier one."""
    state = state_of(request)
    refuse_simple_type(request)
    body = await read_body(request, MAX_BYTES)
    try:
        sent = Feedback.model_validate_json(body)
        parse_json(body)
    except Refusal as refusal:
        raise refuse(422, refusal) from None
    except ValidationError as error:
        raise refuse(422, Refusal.from_validation(error, EXAMPLE)) from None
    heads = {served.sha256: served.labelled.head for served in _running(state)}
    if fault := answer.find_fault(sent, list(heads.values())):
        raise refuse(422, fault)
    try:
        told = await state.journal.label(sent.id, answer.write(sent), sent.slice, heads)
    except UnknownLabel as unknown:
        raise refuse(422, unknown.refusal) from None
    except sqlite3.Error as error:
        raise _refuse_journal(state, error) from None
    if told.earlier is None:  # clients may send a label again
        LABELS.labels("yes" if told.labelled else "no").inc()
    if told.labelled:
        _record_label(state, told.labelled, told.earlier)
    return Joined(joined=told.labelled is not None)


def _running(state: ServerState) -> list[Served]:
    return [state.served, state.trial.challenger] if state.trial else [state.served]


def _refuse_journal(state: ServerState, error: sqlite3.Error) -> HTTPException:
    log.error("the journal is not available", extra={"reason": str(error)})
    return refuse_busy(RETRY_AFTER_S)


def _record_label(state: ServerState, labelled: LabelledPrediction, earlier: str | None) -> None:
    """Add a label to the window of the model that made the prediction, if it still runs."""
    LAST_LABEL.set(labelled.time_s)
    id, prediction, confidence, sha256, truth, slice, _ = labelled
    for served in _running(state):
        if served.sha256 == sha256:
            change = served.labelled.add if earlier is None else served.labelled.correct
            change(truth, prediction, confidence, slice, id)
    if state.trial and state.trial.challenger.sha256 == sha256:
        said = answer.from_journal(prediction, confidence)
        was_right = None if earlier is None else answer.is_right(answer.read(earlier), said)
        state.trial.observe_label(answer.is_right(answer.read(truth), said), was_right)
    state.served.labelled.show()  # the slice may be new


async def fill_windows(state: ServerState) -> None:
    """Read the latest labels of the running models from the journal.

    The windows then show the same as before a restart, or before a deletion.
    """
    for served in _running(state):
        rows = await state.journal.read_labelled(load_params().labelled_window, served.sha256)
        served.labelled.clear()
        for id, prediction, confidence, _, truth, slice, _ in rows:
            served.labelled.add(truth, prediction, confidence, slice, id)
        if rows and served is state.served:
            LAST_LABEL.set(max(row.time_s for row in rows))
    state.served.labelled.show()


async def follow_deletions(state: ServerState) -> None:
    """Fill the windows again after the journal has deleted rows, until cancelled."""
    while True:
        await asyncio.sleep(FOLLOW_EVERY_S)
        if state.journal.take_change():
            with suppress(sqlite3.Error):  # the next write logs the reason
                await fill_windows(state)


@router.delete("/requests/{id}", responses=DELETE_RESPONSES, response_model_exclude_defaults=True)
async def forget(request: Request, id: str, response: Response) -> Forgotten:
    """Delete all stored data of a request, including its label.

    202 instead of 200 if something of it is left for now; `not_yet` names the reason.
    """
    state = state_of(request)
    await read_body(request, 0)
    try:
        rows, not_yet = await state.journal.forget(id)
        if rows:
            await fill_windows(state)
    except sqlite3.Error as error:
        raise _refuse_journal(state, error) from None
    if not rows and not not_yet:
        raise refuse(404, Refusal("id", id, "the id of a stored request", "..."))
    response.status_code = 202 if not_yet else 200
    return Forgotten(rows=rows, not_yet=not_yet)
