"""Describe the latest model in words: verdict, strengths and weaknesses, and origin."""

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..artifacts import RAW, REPORTS, read_report
from ..gates import Gate
from ..scope import load_scope
from .pages import format_number
from .verify import recorded_md5s

NAMES_SHOWN = 3  # of limits that are not met, or of labels, in one sentence
# A slice is named if it has this many times its share of the mistakes.
NOTABLE = 1.25
ID_LENGTH = 12  # characters of a hash, as in the names of releases
# These files and the data determine a result. Reports and dvc.lock change in every run.
SOURCES = ("src", "scope.yaml", "params.yaml", "schema.yaml", "prices.yaml", "dvc.yaml")
METRIC_MEANINGS = {
    "accuracy": "the share of predictions that are right",
    "macro_f1": "the F1 score of each label, averaged: rare labels count as much as frequent ones",
    "macro_recall": "the recall of each label, averaged: rare labels count as much as"
    " frequent ones",
}


def optional_report(name: str) -> dict[str, Any]:
    """Return a report, or an empty one if its stage has not run here."""
    return read_report(name) if (REPORTS / f"{name}.json").exists() else {}


def recorded_gates() -> list[Gate]:
    """Return the gates of `reports/gates.json`; there are none before the first run."""
    path = REPORTS / "gates.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Gate.model_validate(row) for row in rows]


def purpose(labels: Sequence[str]) -> str:
    """Return what the model does, in one sentence."""
    inputs = {"image": "image", "audio": "sound clip", "tabular": "row of a table"}
    names = f"one of {len(labels)} labels"
    if len(labels) <= NAMES_SHOWN:
        *others, last = [f"“{label}”" for label in labels]
        names = f"{', '.join(others)} or {last}"
    return f"Classifies each {inputs[load_scope().modality]} as {names}."


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
    training = optional_report("train")
    shipped = optional_report("evaluate").get("model_sha256") or "not recorded"
    day = "on an unrecorded date"
    if "trained_at" in training:
        day = f"{datetime.fromtimestamp(training['trained_at'], UTC):%Y-%m-%d}"
    return {
        "model": shipped[:ID_LENGTH],
        "variant": str(optional_report("compress").get("shipped") or "none"),
        "trained": day,
        "data": _describe_data(optional_report("ingest")),
        "data_id": recorded_md5s().get(str(RAW), "not recorded")[:ID_LENGTH],
    }


def is_sample() -> bool:
    """Whether the model was trained on the made-up data of the template."""
    return bool(optional_report("ingest").get("source") == "sample")


def _describe_data(data: dict[str, Any]) -> str:
    count = sum(data.get("labels", {}).values())
    source = "the made-up sample" if is_sample() else data.get("source", "an unrecorded source")
    return f"{source} ({count:,} examples)"


def findings(quality: dict[str, Any]) -> list[str]:
    """Return sentences about strengths and weaknesses, most important first."""
    return [*_hits(quality), *_mistakes(quality), *_bounds(quality), describe_split()]


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


def _hits(quality: dict[str, Any]) -> Iterator[str]:
    labels, counts = quality["labels"], np.array(quality["confusion"])
    total, right = int(counts.sum()), int(np.trace(counts))
    predicted = [label for label, n in zip(labels, counts.sum(0), strict=True) if n]
    if len(predicted) == 1 < len(labels):
        yield f"It predicts “{predicted[0]}” for all {total:,} held-out examples."
        return
    if right == total:
        yield f"It labelled all {total:,} held-out examples correctly."
        return
    present = [i for i, n in enumerate(counts.sum(1)) if n]
    weakest_first = sorted(present, key=lambda i: counts[i, i] / counts[i].sum())
    parts = [f"{counts[i, i]:,} of {counts[i].sum():,} “{labels[i]}”" for i in weakest_first]
    found = f"It labelled {right:,} of {total:,} held-out examples correctly"
    if len(parts) > NAMES_SHOWN:
        yield f"{found}. It is weakest on “{labels[weakest_first[0]]}”: it found {parts[0]}."
    else:
        yield f"{found}: it found {' and '.join(parts)}."
    sure = [labels[i] for i in present if counts[:, i].sum() == counts[i, i] > 0]
    if sure:
        yield f"It was right each time it predicted {_enumerate(sure)}."


def _mistakes(quality: dict[str, Any]) -> Iterator[str]:
    labels, counts = quality["labels"], np.array(quality["confusion"])
    wrong = counts - np.diag(np.diag(counts))
    mistakes = int(wrong.sum())
    if not mistakes or (counts.sum(0) > 0).sum() == 1:
        return
    truth, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    if mistakes > 1 and len(labels) > 2:
        pair = f"“{labels[predicted]}” instead of “{labels[truth]}”"
        yield f"Its most frequent mistake: {pair} ({wrong.max():,} of {mistakes:,})."
    yield from _weakest_slice(quality, mistakes)


def _weakest_slice(quality: dict[str, Any], mistakes: int) -> Iterator[str]:
    slices = {name: s for name, s in quality["slices"].items() if math.isfinite(s["value"])}
    if not slices:
        return
    worst = min(slices, key=lambda name: slices[name]["value"])
    score, whole = slices[worst], quality["score"]
    missed = round(score["examples"] * (1 - score["value"]))
    if quality["metric"] != "accuracy":
        if score["value"] < whole["value"]:
            value = f"{quality['metric']} {format_number(score['value'])}"
            yield f"It is weakest in slice “{worst}”: {value} on {score['examples']:,} examples."
    elif missed / mistakes > NOTABLE * score["examples"] / whole["examples"]:
        where = f"{missed:,} of its {mistakes:,} mistakes are"
        if missed == mistakes:
            where = f"All {mistakes:,} mistakes are" if mistakes > 1 else "Its only mistake is"
        yield f"{where} in slice “{worst}” ({score['examples']:,} examples)."


def _bounds(quality: dict[str, Any]) -> Iterator[str]:
    scope = load_scope()
    bound = quality["score"]["lower_bound"]
    if not math.isfinite(bound):
        return
    sure = f"With {100 * scope.confidence:g} % confidence"
    limit = f"the limit is {format_number(scope.min_metric)}"
    yield (
        f"{sure}, its {quality['metric']} on similar new inputs is at least"
        f" {format_number(bound)}; {limit}."
    )
    ceiling = quality["score"].get("ceiling", 1)
    if ceiling < scope.min_metric:
        words = f"On {quality['score']['examples']:,} examples, even a perfect model would show"
        yield f"{words} no more than {format_number(ceiling)}: add examples."
    baseline = quality.get("baseline", {})
    simple = baseline.get("value", math.nan)
    if math.isfinite(simple):
        values = format_number(quality["score"]["value"]), format_number(simple)
        yield f"Measured: {values[0]}. The baseline ({scope.baseline}) reaches {values[1]}."
    if baseline.get("gain_ceiling", 1) < scope.min_gain_over_baseline:
        yield "Even a perfect model could not beat this baseline by the required margin."


def _enumerate(names: list[str]) -> str:
    shown = [f"“{name}”" for name in names[:NAMES_SHOWN]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


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
