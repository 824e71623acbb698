"""Train a candidate when it is due, judge it against the champion, and ask a person to merge it."""

import subprocess
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

from ..artifacts import SHIPPED, write_report
from ..pipeline.card import CARD
from ..scope import load_scope
from .ask import firing, has_github
from .compare import Comparison, champion, compared, table, verdict
from .pull_request import BACK, commit, dvc, is_judged, is_made, is_tried, publish, remember, start

DUE = "RetrainDue"
HERE = """The candidate is on the branch {0}, and only here: `git show {0}`. To go on:
git switch {0} && uv run dvc checkout && uv run dvc push && git push origin {0}
With GITHUB_TOKEN and GITHUB_REPOSITORY set, `make retrain` opens a pull request itself."""
NEXT = """Merging replaces nothing that answers: after it, `make release`, `make challenge` and
`make promote` do, and `make rollback` goes back. See docs/runbook.md#retrain-due."""


def retrain(reason: str = "") -> None:
    """Go all the way when `RetrainDue` is firing, or for a reason that somebody gives.

    What answers now, in `releases/`, is never changed.

    Raises:
        SystemExit: Prometheus, git or GitHub refuses, or the candidate is not good enough.
    """
    if by_alert := not reason:
        alerts = firing()
        seen = ", ".join(f"{name} ({n})" for name, n in sorted(alerts.items())) or "none"
        print(f"Alerts that are firing: {seen}.")
        if DUE not in alerts:
            return print(f"{DUE} is none of them: nothing to do.")
        reason = f"These alerts were firing: {seen}."
    base, branch = start()
    if has_github() and (is_judged(branch) or (by_alert and is_tried(branch))):
        return
    if is_made(branch):
        print(f"{branch} was made by an earlier run from this commit.")
    else:
        try:
            message = _judged(reason)
        except SystemExit:
            remember(branch)
            raise
        if not message:
            remember(branch)
            return print("The candidate is the champion, byte by byte: nothing is new.")
        commit(branch, message, share=has_github())
    print(f"Opened {publish(branch, base)}" if has_github() else HERE.format(branch))


def _judged(reason: str) -> str:
    """Train and judge a candidate; return the message of its commit, empty if nothing is new."""
    dvc("pull", "--allow-missing")  # what there is; the stages say what they miss
    with TemporaryDirectory() as folder:
        name, before = champion(Path(folder)) or ("nothing", None)
        card = CARD.read_text() if CARD.exists() else ""
        if subprocess.run(["make", "model"], check=False).returncode:  # noqa: S603, S607
            raise SystemExit(f"There is no candidate that is good enough: see above. {BACK}")
        if before and before.read_bytes() == SHIPPED.read_bytes():
            return ""
        found, why_not = _compared(before)
    word = verdict(found) if found else "not compared"
    report = {"reason": reason, "champion": name, "verdict": word, "why_not": why_not}
    rows = [c._asdict() | {"verdict": c.verdict} for c in found]
    write_report("retrain", report | {"metric": load_scope().metric, "comparisons": rows})
    said = table(found) if found else f"{why_not}\n"
    print(f"The candidate, against {name}: {word}.\n{said}")
    if word == "worse":
        raise SystemExit(f"The champion is better: nothing is opened. {BACK}")
    lines = unified_diff(card.splitlines(), CARD.read_text().splitlines(), "champion", "candidate")
    diff = "\n".join(line.rstrip() for line in lines)
    against = f"Against {name}, {load_scope().metric}: **{word}**."
    changes = f"The model card:\n\n```diff\n{diff}\n```"
    parts = [f"Retrained model: {word}", reason, against, said, changes, NEXT]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _compared(before: Path | None) -> tuple[list[Comparison], str]:
    if not before:
        return [], "No champion is here: nothing was released, and `dvc pull` has not its file."
    try:
        return compared(before), ""
    except SystemExit as error:  # it wants other features, for example
        return [], f"The champion cannot see what the candidate sees: {error}"
