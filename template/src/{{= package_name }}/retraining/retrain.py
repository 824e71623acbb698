"""Train a candidate when it is due, compare it with the champion, and open a pull request."""

import json
import subprocess
from collections import Counter
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode
from urllib.request import urlopen

from ..artifacts import SHIPPED, write_report
from ..pipeline.card import CARD
from ..scope import load_scope
from ..settings import ProjectSettings, variable
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
)

DUE = "RetrainDue"
FIRING = 'ALERTS{alertstate="firing"}'
TIMEOUT_S = 30
HERE = """The candidate is on the branch {0}, and only here: `git show {0}`. To go on:
git switch {0} && uv run dvc checkout && uv run dvc push && git push origin {0}
With GITHUB_TOKEN and GITHUB_REPOSITORY set, and gh, `make retrain` opens a pull request itself."""
NEXT = """Merging replaces nothing that answers: after it, `make release`, `make challenge` and
`make promote` do, and `make rollback` goes back. See docs/runbook.md#retrain-due."""


def retrain(reason: str = "") -> None:
    """Train and propose a candidate when `RetrainDue` is firing, or for a given reason.

    `releases/` is never changed.

    Raises:
        SystemExit: Prometheus, git or GitHub refuses, or the candidate is not good enough.
    """
    if by_alert := not reason:
        alerts = firing_alerts()
        seen = ", ".join(f"{name} ({n})" for name, n in sorted(alerts.items())) or "none"
        print(f"Alerts that are firing: {seen}.")
        if DUE not in alerts:
            print(f"{DUE} is none of them: nothing to do.")
            return
        reason = f"These alerts were firing: {seen}."
    base, branch = name_branches()
    if is_on_github() and (already_proposed(branch) or (by_alert and already_failed(branch))):
        return
    if branch_exists(branch):
        print(f"{branch} was made by an earlier run from this commit.")
    else:
        try:
            message = _train_and_compare(reason)
        except SystemExit:
            remember_failure(branch)
            raise
        if not message:
            remember_failure(branch)
            print("The candidate is the champion, byte by byte: nothing is new.")
            return
        commit(branch, message, share=is_on_github())
    print(f"Opened {publish(branch, base)}" if is_on_github() else HERE.format(branch))


def firing_alerts() -> Counter[str]:
    """Return the names of the alerts that are firing, each with the number of its series.

    Raises:
        SystemExit: there is no Prometheus at `<PACKAGE>_PROMETHEUS_URL`.
    """
    url = ProjectSettings.read().prometheus_url
    name = variable("PROMETHEUS_URL")
    query = f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': FIRING})}"
    try:
        with urlopen(query, timeout=TIMEOUT_S) as response:  # noqa: S310 (the owner's setting)
            found = json.load(response)
        return Counter(series["metric"]["alertname"] for series in found["data"]["result"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = f"Set {name}, like http://127.0.0.1:9090, or run `make retrain FORCE=1`."
        raise SystemExit(f"No Prometheus at {url!r} ({error}). {remedy}") from None


def _train_and_compare(reason: str) -> str:
    """Return the message of the candidate's commit, empty if it is the champion again."""
    dvc("pull", "--allow-missing")  # what there is; the stages say what they miss
    with TemporaryDirectory() as folder:
        name, before = find_champion(Path(folder)) or ("nothing", None)
        card = CARD.read_text() if CARD.exists() else ""
        if subprocess.run(["make", "model"], check=False).returncode:  # noqa: S603, S607
            raise SystemExit(f"There is no candidate that is good enough: see above. {BACK}")
        if before and before.read_bytes() == SHIPPED.read_bytes():
            return ""
        found, why_not = _compare_with(before)
    word = overall_verdict(found) if found else "not compared"
    report = {"reason": reason, "champion": name, "verdict": word, "why_not": why_not}
    rows = [c._asdict() | {"verdict": c.verdict} for c in found]
    write_report("retrain", report | {"metric": load_scope().metric, "comparisons": rows})
    said = to_table(found) if found else f"{why_not}\n"
    print(f"The candidate, against {name}: {word}.\n{said}")
    if word == "worse":
        raise SystemExit(f"The champion is better: nothing is opened. {BACK}")
    lines = unified_diff(card.splitlines(), CARD.read_text().splitlines(), "champion", "candidate")
    diff = "\n".join(line.rstrip() for line in lines)
    against = f"Against {name}, {load_scope().metric}: **{word}**."
    changes = f"The model card:\n\n```diff\n{diff}\n```"
    parts = [f"Retrained model: {word}", reason, against, said, changes, NEXT]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _compare_with(before: Path | None) -> tuple[list[Comparison], str]:
    if not before:
        return [], "No champion is here: nothing was released, and `dvc pull` has not its file."
    try:
        return compare_models(before), ""
    except SystemExit as error:  # it wants other features, for example
        return [], f"The champion cannot see what the candidate sees: {error}"
