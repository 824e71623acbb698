"""Compare a candidate with the champion, on examples that neither was trained on."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..artifacts import SHIPPED
from ..pipeline.ingest import FEEDBACK
from ..pipeline.pages import format_cell
from ..pipeline.splits import load_split, require_head
from ..pipeline.verify import recorded_md5s
from ..predictor import Predictor
from ..problem.metrics import align, compare
from ..releases.registry import ROLLOUT, UnfitRelease, read_rollout, verify_release
from ..scope import load_scope

ALL, RECENT = "all held-out examples", "recent labelled traffic"


class Comparison(NamedTuple):
    """The metric of both models on the same examples, and the confidence interval of the gain."""

    examples: str
    number: int
    champion: float
    candidate: float
    gain_at_least: float
    gain_at_most: float

    @property
    def verdict(self) -> str:
        """Better or worse only if the whole confidence interval is on that side of zero."""
        if self.gain_at_least > 0:
            return "better"
        return "worse" if self.gain_at_most < 0 else "equal within noise"


def find_champion() -> tuple[str, bytes] | None:
    """Return the name and the content of the champion.

    Before the first release, that is the model of the last commit. None if DVC does not
    have that file here.

    Raises:
        SystemExit: the champion is unfit.
    """
    if ROLLOUT.exists():
        try:
            release = verify_release(read_rollout().champion)
        except UnfitRelease as unfit:
            raise SystemExit(str(unfit)) from None
        return f"release {release.id} ({release.name})", release.model
    content = SHIPPED.read_bytes() if SHIPPED.exists() else b""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != recorded_md5s().get(str(SHIPPED)):
        return None
    return f"{SHIPPED} of the last commit", content


def compare_models(champion: Path | bytes) -> list[Comparison]:
    """Compare the candidate, `models/shipped.onnx`, with a champion, overall and per slice.

    Raises:
        SystemExit: the champion needs other inputs than the candidate, or the candidate has other
            labels than the features. Labels of the champion are compared by name.
    """
    new, old = Predictor(), Predictor(champion)
    require_head(SHIPPED, new.head)
    x, truth, slices = load_split("test")
    if old.input_shape != x.shape[1:]:
        raise SystemExit(f"It needs inputs of shape {old.input_shape}, these have {x.shape[1:]}.")
    outputs, before = new.outputs(x), align(old.outputs(x), old.head, new.head)
    scope = load_scope()
    groups = {ALL: np.full(len(x), True), RECENT: slices == FEEDBACK.name}
    groups |= {f"slice {s}": slices == s for s in np.unique(slices) if s != FEEDBACK.name}
    return [
        Comparison(
            name,
            int(rows.sum()),
            *compare(truth[rows], outputs[rows], before[rows], new.head, scope),
        )
        for name, rows in groups.items()
        if rows.any()
    ]


def overall_verdict(comparisons: list[Comparison]) -> str:
    """Return the verdict on all examples and recent traffic, where a loss overrides a gain."""
    verdicts = [c.verdict for c in comparisons if c.examples in (ALL, RECENT)]
    return next((word for word in ("worse", "better") if word in verdicts), "equal within noise")


def to_table(comparisons: list[Comparison]) -> str:
    """Write comparisons as a Markdown table."""
    bounds = f"gain ({load_scope().confidence:.0%} confidence per bound)"
    head = f"| | examples | champion | candidate | {bounds} | |\n"
    return f"{head}|---|---|---|---|---|---|\n" + "".join(
        f"| {format_cell(c.examples)} | {c.number} | {c.champion:.4g} | {c.candidate:.4g} "
        f"| {c.gain_at_least:+.4f} to {c.gain_at_most:+.4f} | {c.verdict} |\n"
        for c in comparisons
    )
