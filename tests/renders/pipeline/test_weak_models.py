"""A weak model in a render: DVC records it, `make model` rejects it and names every limit."""

import json
import re
import shutil
from pathlib import Path

import pytest

from repository import commit_files, done, run_in

ABSURD = "learning_rate=50.0"  # 5000 times the default: nothing can be learned


@pytest.mark.long
def test_weak_experiment_is_recorded_and_rejected(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(built, folder, symlinks=True)
    commit_files(folder)
    done(run_in(folder, "dvc", "exp", "run", "--name", "weak", "-S", ABSURD))
    shown = json.loads(done(run_in(folder, "dvc", "exp", "show", "--json")))
    assert '"weak"' in json.dumps(shown)
    gates = json.loads((folder / "reports/gates.json").read_text())
    failed = [gate["id"] for gate in gates if not gate["passed"]]
    assert {"quality", "baseline_gain"} <= set(failed)
    page = (folder / "reports/report.html").read_text()
    assert page.count('class="broken"') == len(failed)

    result = run_in(folder, "make", "model")
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "didn't change, skipping" in result.stdout, "`check` must use the recorded run"
    words = result.stderr.partition("Limits not met")[2]
    assert re.findall(r"^  (\w+): ", words, re.MULTILINE) == failed
    assert "\nWhat to do: docs/runbook.md#limits-not-met\n" in words
    assert "\n## Limits not met\n" in (folder / "docs/runbook.md").read_text()
    for name in ("README.md", "docs/card.md"):
        text = (folder / name).read_text()
        assert text.count("**not met**") == len(failed) and "limits not met: " in text
        assert "The data is made up" in text
    for command in ("release", "check"):
        assert run_in(folder, "python", "-m", "scratch_detector", command).returncode == 1
    assert not list((folder / "releases").glob("*/manifest.json"))
