"""Data nobody here made, through the road of each example: in, judged, and answered.

`make real-data` runs these and prints what they measured; docs/real-data.md keeps it.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import real_data
from conftest import ROOT, Render
from environment import environment, requirements, variables
from test_pipeline import decided, make, served

pytestmark = pytest.mark.real_data
HEAD = (
    "scenario|data|trained / judged on|decides|measured|at least|worst slice, at least"
    "|baseline|gain, at least|float32 to shipped|p95"
)
Table = list[str]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """One Markdown row per scenario, printed at the end; `pytest -s` shows it."""
    rows: Table = []
    yield rows
    print("\n", f"|{HEAD}|", re.sub(r"[^|]+", "---", f"|{HEAD}|"), *rows, sep="\n")


def project(scenario: str, render: Render, folder: Path) -> dict[str, str]:
    """Render the answers of an example into `folder`; return variables of its environment."""
    answers = yaml.safe_load((ROOT / "examples" / f"{scenario}.yml").read_text())
    named = answers | {"project_name": "scratch-detector"}  # the helpers start it by this name
    shutil.copytree(render(**named), folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return variables(folder, environment(requirements(folder, "serve", "train", "dev")))


def ingest(folder: Path, source: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Bring data in, as the README of the render says."""
    command = ["uv", "run", "python", "-m", "scratch_detector", "ingest", str(source)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def edit(path: Path, key: str, value: str) -> None:
    """Change one line, as a user would and a reviewer would see."""
    changed, times = re.subn(rf"(?m)^{key}: .*$", f"{key}: {value}", path.read_text())
    assert times == 1
    path.write_text(changed)


def judged(folder: Path) -> dict[str, bool]:
    """Return which promises are kept, by the id of their gate."""
    gates = json.loads((folder / "reports" / "gates.json").read_text())
    return {gate["id"]: gate["passed"] for gate in gates}


def row(scenario: str, data: str, folder: Path) -> str:
    """What was measured on this machine, for docs/real-data.md."""
    names = ("train", "evaluate", "compress", "benchmark")
    training, quality, compressed, speed = (
        json.loads((folder / "reports" / f"{name}.json").read_text()) for name in names
    )
    scope, shipped = yaml.safe_load((folder / "scope.yaml").read_text()), quality["score"]
    fp32_mb = compressed["candidates"]["fp32"]["size_mb"]
    slices = {name: score["lower_bound"] for name, score in quality["slices"].items()}
    worst = min(slices, key=lambda name: slices[name])
    timings = (f"{t['latency_p95_ms']:.2g} ms ({place})" for place, t in speed.items())
    cells = (
        scenario,
        data,
        f"{training['examples']:,} / {shipped['examples']:,}",
        f"{scope['metric']} >= {scope['min_metric']}",
        f"{shipped['value']:.3f}",
        f"{shipped['lower_bound']:.3f}",
        f"{slices[worst]:.3f} ({worst})",
        f"{quality['baseline']['value']:.3f} ({scope['baseline']})",
        f"{quality['baseline']['gain_lower_bound']:.3f}",
        f"{1000 * fp32_mb:.0f} to {1000 * compressed['size_mb']:.0f} kB ({compressed['shipped']})",
        ", ".join(timings),
    )
    return f"| {' | '.join(cells)} |"


def test_scanned_digits_on_a_device(render: Render, tmp_path: Path, table: Table) -> None:
    folder, digits = tmp_path / "repo", tmp_path / "digits"
    env = project("phone-scratch-inspection", render, folder)
    real_data.write_digits(digits)
    assert (brought := ingest(folder, digits, env)).returncode == 0, brought.stderr
    assert "1797 examples" in brought.stdout
    # 341 held-out digits prove that the network is better than a line, but not by a whole point.
    edit(folder / "scope.yaml", "min_gain_over_baseline", "0")
    make(folder, "model", env)
    assert all(judged(folder).values())
    for target in ("example", "release"):
        make(folder, target, env)
    decided(folder)
    table.append(row("phone-scratch-inspection", "scikit-learn's digits, 8 x 8 pixels", folder))


def test_rejects_clips_at_another_sample_rate(render: Render, tmp_path: Path) -> None:
    folder, spoken = tmp_path / "repo", tmp_path / "spoken" / "stop" / "1.wav"
    env = project("spoken-keywords", render, folder)
    schema = (folder / "schema.yaml").read_text()
    spoken.parent.mkdir(parents=True)
    spoken.write_bytes(real_data.run("espeak-ng", "--stdout", "stop"))
    refused = ingest(folder, tmp_path / "spoken", env)
    assert refused.returncode == 1 and "Nothing was ingested" in refused.stderr
    assert "sample_rate_hz" in refused.stderr and "22050" in refused.stderr
    assert "stop/1.wav" in refused.stderr and "16000" in refused.stderr
    assert not (folder / "data" / "raw").exists()
    assert (folder / "schema.yaml").read_text() == schema


def test_spoken_words_on_server_and_device(render: Render, tmp_path: Path, table: Table) -> None:
    folder, words = tmp_path / "repo", tmp_path / "words"
    env = project("spoken-keywords", render, folder)
    real_data.write_keywords(words)
    assert (brought := ingest(folder, words, env)).returncode == 0, brought.stderr
    make(folder, "model", env)
    assert all(judged(folder).values())
    slices = json.loads((folder / "reports" / "evaluate.json").read_text())["slices"]
    assert slices.keys() == {*real_data.ACCENTS, "room"}
    for target in ("example", "release"):
        make(folder, target, env)
    served(folder)
    decided(folder)
    table.append(row("spoken-keywords", "espeak-ng in 6 accents, over noise", folder))


def test_rejects_a_model_that_does_not_beat_the_baseline(
    render: Render, tmp_path: Path, table: Table
) -> None:
    folder, diagnoses = tmp_path / "repo", tmp_path / "diagnoses.csv"
    env = project("payment-fraud", render, folder)
    real_data.write_diagnoses(diagnoses)
    edit(folder / "schema.yaml", "label_column", "diagnosis")
    edit(folder / "schema.yaml", "slice_column", '""')
    assert (brought := ingest(folder, diagnoses, env)).returncode == 0, brought.stderr

    stopped = subprocess.run(
        ["make", "model"], cwd=folder, env=env, capture_output=True, text=True, timeout=900
    )
    broken = {gate for gate, passed in judged(folder).items() if not passed}
    assert stopped.returncode != 0 and "Limits not met" in stopped.stderr
    # A hundred held-out rows are too few for a floor of 0.9 with a margin: that gate may go too.
    assert {"baseline_gain"} <= broken <= {"baseline_gain", "quality"}
    assert all(f"  {gate}: " in stopped.stderr for gate in broken)
    assert "scope.yaml: min_gain_over_baseline" in stopped.stderr
    table.append(row("payment-fraud, stopped", "scikit-learn's breast cancer table", folder))

    edit(folder / "scope.yaml", "baseline", "majority")
    edit(folder / "scope.yaml", "min_metric", "0.85")
    make(folder, "model", env)
    assert all(judged(folder).values())
    for target in ("example", "release"):
        make(folder, target, env)
    served(folder)
    table.append(row("payment-fraud, promising less", "the same", folder))
