"""A weak model in a render: DVC records it, and `make model` refuses it by every limit."""

import json
import re
import shutil
from pathlib import Path

from repository import committed, done, run_in

ABSURD = "learning_rate=50.0"  # 5000 times the default: nothing can be learned


def test_an_experiment_that_misses_its_limits_is_recorded_and_refused(
    built: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(built, folder, symlinks=True)
    committed(folder)
    done(run_in(folder, "dvc", "exp", "run", "--name", "weak", "-S", ABSURD))
    shown = json.loads(done(run_in(folder, "dvc", "exp", "show", "--json")))
    assert '"weak"' in json.dumps(shown)
    gates = json.loads((folder / "reports/gates.json").read_text())
    failed = [gate["id"] for gate in gates if not gate["passed"]]
    assert {"quality", "baseline_gain"} <= set(failed)
    page = (folder / "reports/report.html").read_text()
    assert page.count('class="broken"') == len(failed)

    refused = run_in(folder, "make", "model")
    assert refused.returncode != 0 and "Traceback" not in refused.stderr
    assert "didn't change, skipping" in refused.stdout, "the recorded run is judged, not another"
    words = refused.stderr.partition("Limits not met")[2]
    assert re.findall(r"^  (\w+): ", words, re.MULTILINE) == failed
    for name in ("README.md", "docs/card.md"):
        text = (folder / name).read_text()
        assert text.count("**not met**") == len(failed) and "limits not met: " in text
        assert "The data is made up" in text
    for command in ("release", "check"):
        assert run_in(folder, "python", "-m", "scratch_detector", command).returncode == 1
    assert not list((folder / "releases").glob("*/manifest.json"))
