"""The command `retrain`: train a candidate, compare it with the champion, open a pull request."""

import subprocess
from difflib import unified_diff
from pathlib import Path

from ..artifacts import SHIPPED, write_report
from ..monitoring.due import alerts_if_due
from ..pipeline.card import CARD
from ..scope import load_scope
from .compare import Comparison, compare_models, find_champion, overall_verdict, to_table
from .pull_request import (
    BACK,
    already_failed,
    already_proposed,
    branch_exists,
    commit,
    dvc,
    is_on_github,
    name_branches,
    publish,
    remember_failure,
    without_tokens,
)

HERE = """The candidate is on the local branch {0}: `git show {0}`. To share it:
git switch {0} && uv run dvc checkout && uv run dvc push && git push origin {0}
With gh, GITHUB_TOKEN and GITHUB_REPOSITORY, `make retrain` opens a pull request instead."""
NEXT = """Merging this does not change the model in use. To do that, run `make release`,
`make challenge` and `make promote`; `make rollback` reverts it. See docs/runbook.md#retrain-due."""


def retrain(reason: str = "") -> None:
    """Train and propose a candidate if the alert `RetrainDue` fires, or for a given reason.

    `releases/` is not changed.

    Raises:
        SystemExit: Prometheus, git or gh fails, or the candidate is not good enough.
    """
    if by_alert := not reason:
        if not (names := alerts_if_due()):
            return
        reason = f"These alerts were firing: {names}."
    base, branch = name_branches()
    if is_on_github() and (already_proposed(branch) or (by_alert and already_failed(branch))):
        return
    if branch_exists(branch):
        print(f"{branch} exists: an earlier run made it from this commit.")
    else:
        try:
            message = _train_and_compare(reason)
        except SystemExit:
            remember_failure(branch)
            raise
        if not message:
            remember_failure(branch)
            print("The candidate is identical to the champion: nothing to propose.")
            return
        commit(branch, message, share=is_on_github())
    print(f"Opened {publish(branch, base)}" if is_on_github() else HERE.format(branch))


def _train_and_compare(reason: str) -> str:
    """Return the commit message of the candidate; empty if it is identical to the champion."""
    dvc("pull", "--allow-missing")  # if a file is still missing, a stage fails and names it
    name, before = find_champion() or ("nothing", None)
    card = CARD.read_text() if CARD.exists() else ""
    training = subprocess.run(["make", "model"], check=False, env=without_tokens())  # noqa: S603, S607
    if training.returncode:
        raise SystemExit(f"The candidate does not meet all limits: see above. {BACK}")
    if before == SHIPPED.read_bytes():
        return ""
    comparisons, why_not = _compare_with(before)
    word = overall_verdict(comparisons) if comparisons else "not compared"
    report = {"reason": reason, "champion": name, "verdict": word, "why_not": why_not}
    rows = [c._asdict() | {"verdict": c.verdict} for c in comparisons]
    write_report("retrain", report | {"metric": load_scope().metric, "comparisons": rows})
    result = to_table(comparisons) if comparisons else f"{why_not}\n"
    print(f"The candidate, compared with {name}: {word}.\n{result}")
    if word == "worse":
        raise SystemExit(f"The champion is better, so no pull request was opened. {BACK}")
    lines = unified_diff(card.splitlines(), CARD.read_text().splitlines(), "champion", "candidate")
    diff = "\n".join(line.rstrip() for line in lines).replace("```", "` ` `")  # inside a fence
    verdict = f"Compared with {name}, by {load_scope().metric}: **{word}**."
    changes = f"The model card:\n\n```diff\n{diff}\n```"
    parts = [f"Retrained model: {word}", reason, verdict, result, changes, NEXT]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _compare_with(before: Path | bytes | None) -> tuple[list[Comparison], str]:
    if not before:
        return [], "No champion found: there is no release, and `dvc pull` did not fetch a model."
    try:
        return compare_models(before), ""
    except SystemExit as error:  # it needs other features, for example
        return [], f"The champion cannot be compared on these inputs: {error}"
