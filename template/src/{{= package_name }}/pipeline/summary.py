"""Describe the latest model in words: verdict, strengths and weaknesses, and origin."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..artifacts import RAW, REPORTS, read_report
from ..framework import MADE, MODEL_REPORT
from ..gates import Gate
from ..problem import words
from ..scope import load_scope
from .verify import recorded_md5s

NAMES_SHOWN = 3  # of limits that are not met, in one sentence
ID_LENGTH = 12  # characters of a hash, as in the names of releases
# These files and the data determine a result. Reports and dvc.lock change in every run.
SOURCES = ("src", "scope.yaml", "params.yaml", "schema.yaml", "prices.yaml", "dvc.yaml")


def optional_report(name: str) -> dict[str, Any]:
    """Return a report, or an empty one if its stage has not run here."""
    return read_report(name) if (REPORTS / f"{name}.json").exists() else {}


def recorded_gates() -> list[Gate]:
    """Return the gates of `reports/gates.json`; there are none before the first run."""
    path = REPORTS / "gates.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Gate.model_validate(row) for row in rows]


def purpose(quality: dict[str, Any]) -> str:
    """Return what the model does, in one sentence."""
    inputs = {"image": "image", "audio": "sound clip", "tabular": "row of a table"}
    scope = load_scope()
    return words.purpose(inputs[scope.modality], quality, scope)


def headline(gates: Sequence[Gate]) -> str:
    if not gates:
        return "No limit has been checked yet"
    failed = [gate.name for gate in gates if not gate.passed]
    if not failed:
        return f"All {len(gates)} limits met"
    rest = len(failed) - NAMES_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return f"{len(failed)} of {len(gates)} limits not met: {'; '.join(failed[:NAMES_SHOWN])}{more}"


def identity() -> dict[str, str]:
    """Return what identifies the model and its data, from recorded files only."""
    made = optional_report(MODEL_REPORT)
    shipped = optional_report("evaluate").get("model_sha256") or "not recorded"
    day = "on an unrecorded date"
    if "trained_at" in made:
        day = f"{datetime.fromtimestamp(made['trained_at'], UTC):%Y-%m-%d}"
    data = _describe_data(optional_report("ingest"))
    return {
        "model": shipped[:ID_LENGTH],
        "variant": str(optional_report("compress").get("shipped") or "none"),
        "trained": day,
        "verb": MADE.partition(" ")[0],
        "made": MADE.format(day=day, data=data),
        "data": data,
        "data_id": recorded_md5s().get(str(RAW), "not recorded")[:ID_LENGTH],
    }


def is_sample() -> bool:
    """Whether the model was trained on the made-up data of the template."""
    return bool(optional_report("ingest").get("source") == "sample")


def _describe_data(data: dict[str, Any]) -> str:
    count = data.get("examples", sum(data.get("labels", {}).values()))
    source = "the made-up sample" if is_sample() else data.get("source", "an unrecorded source")
    return f"{source} ({count:,} examples)"


def findings(quality: dict[str, Any]) -> list[str]:
    """Return sentences about strengths and weaknesses, most important first."""
    return [*words.findings(quality, load_scope()), describe_split()]


def describe_split() -> str:
    """Return for which new inputs the figures hold: it depends on how the data were divided."""
    data = optional_report("ingest")
    rule = data.get("split", {})
    place, held_out = rule.get("place"), data.get("groups", {}).get("test")
    sentences = {
        "group": f"The figures hold for new groups ({place}): none is in two splits, and the test"
        f" split has {held_out} of them.",
        "time": f"It was tested on the latest examples ({place}), and trained on earlier ones.",
        "given": f"It was tested on the split that the data name ({place}).",
        "function": "It was tested on the split that task/split.py chooses.",
    }
    one_by_one = (
        "The examples were divided one by one: the figures hold for the people, parts and places"
        " in this data, not for new ones. Name what belongs together with “split” in schema.yaml."
    )
    return sentences.get(str(rule.get("by")), one_by_one)


def describe_commit() -> str:
    """Return the commit of the code, and whether files that determine a result differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "not committed"
    changed = _git("status", "--porcelain", "--", *SOURCES)
    return f"{head}, with uncommitted changes" if changed else head


def _git(*arguments: str) -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    return ""
