"""Public data through the pipelines of the examples: ingest, train, check, predict.

`make real-data` runs these tests and prints their measurements for docs/real-data.md.
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
from test_pipeline import check_device, check_server, make

pytestmark = pytest.mark.real_data
HEAD = (
    "scenario|data|trained / tested on|limit|score|bound|worst slice, bound"
    "|baseline|gain, lower bound|float32 to shipped|p95"
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


def run_ingest(folder: Path, source: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Ingest data with the command from the README of the render."""
    command = ["uv", "run", "python", "-m", "scratch_detector", "ingest", str(source)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def edit(path: Path, key: str, value: str) -> None:
    """Change the value of one key."""
    changed, times = re.subn(rf"(?m)^{key}: .*$", f"{key}: {value}", path.read_text())
    assert times == 1
    path.write_text(changed)


def passed_gates(folder: Path) -> dict[str, bool]:
    """Return whether each gate passed, by id."""
    gates = json.loads((folder / "reports" / "gates.json").read_text())
    return {gate["id"]: gate["passed"] for gate in gates}


def row(scenario: str, data: str, folder: Path) -> str:
    """Return a row of measurements for docs/real-data.md."""
    names = ("train", "evaluate", "compress", "benchmark")
    training, quality, compressed, speed = (
        json.loads((folder / "reports" / f"{name}.json").read_text()) for name in names
    )
    scope, shipped = yaml.safe_load((folder / "scope.yaml").read_text()), quality["score"]
    fp32_mb = compressed["candidates"]["fp32"]["size_mb"]
    is_number = "max_error" in scope
    limit, sign, bound = (
        ("max_error", "<=", "upper_bound") if is_number else ("min_metric", ">=", "lower_bound")
    )
    slices = {name: score[bound] for name, score in quality["slices"].items()}
    worst = (max if is_number else min)(slices, key=lambda name: slices[name])
    timings = (f"{t['latency_p95_ms']:.2g} ms ({place})" for place, t in speed.items())
    cells = (
        scenario,
        data,
        f"{training['examples']:,} / {shipped['examples']:,}",
        f"{scope['metric']} {sign} {scope[limit]}",
        f"{shipped['value']:.4g}",
        f"{shipped[bound]:.4g}",
        f"{slices[worst]:.4g} ({worst})",
        f"{quality['baseline']['value']:.4g} ({scope['baseline']})",
        f"{quality['baseline']['gain_lower_bound']:.3f}",
        f"{1000 * fp32_mb:.0f} to {1000 * compressed['size_mb']:.0f} kB ({compressed['shipped']})",
        ", ".join(timings),
    )
    return f"| {' | '.join(cells)} |"


def test_scanned_digits_on_a_device(render: Render, tmp_path: Path, table: Table) -> None:
    folder, digits = tmp_path / "repo", tmp_path / "digits"
    env = project("phone-scratch-inspection", render, folder)
    real_data.write_digits(digits)
    assert (ingested := run_ingest(folder, digits, env)).returncode == 0, ingested.stderr
    assert "1797 examples" in ingested.stdout
    # 341 held-out digits prove a gain over the linear baseline, but not a gain of 0.01.
    edit(folder / "scope.yaml", "min_gain_over_baseline", "0")
    make(folder, "model", env)
    assert all(passed_gates(folder).values())
    for target in ("example", "release"):
        make(folder, target, env)
    check_device(folder)
    table.append(row("phone-scratch-inspection", "scikit-learn's digits, 8 x 8 pixels", folder))


def test_rejects_clips_at_another_sample_rate(render: Render, tmp_path: Path) -> None:
    folder, spoken = tmp_path / "repo", tmp_path / "spoken" / "stop" / "1.wav"
    env = project("spoken-keywords", render, folder)
    schema = (folder / "schema.yaml").read_text()
    spoken.parent.mkdir(parents=True)
    spoken.write_bytes(real_data.run("espeak-ng", "--stdout", "stop"))
    failed = run_ingest(folder, tmp_path / "spoken", env)
    assert failed.returncode == 1 and "Nothing was ingested" in failed.stderr
    assert "sample_rate_hz" in failed.stderr and "22050" in failed.stderr
    assert "stop/1.wav" in failed.stderr and "16000" in failed.stderr
    assert not (folder / "data" / "raw").exists()
    assert (folder / "schema.yaml").read_text() == schema


def test_spoken_words_on_server_and_device(render: Render, tmp_path: Path, table: Table) -> None:
    folder, words = tmp_path / "repo", tmp_path / "words"
    env = project("spoken-keywords", render, folder)
    real_data.write_keywords(words)
    assert (ingested := run_ingest(folder, words, env)).returncode == 0, ingested.stderr
    make(folder, "model", env)
    assert all(passed_gates(folder).values())
    slices = json.loads((folder / "reports" / "evaluate.json").read_text())["slices"]
    assert slices.keys() == {*real_data.ACCENTS, "room"}
    for target in ("example", "release"):
        make(folder, target, env)
    check_server(folder)
    check_device(folder)
    table.append(row("spoken-keywords", "espeak-ng in 6 accents, over noise", folder))


def test_ships_the_baseline_of_a_table_on_which_it_is_as_good(
    render: Render, tmp_path: Path, table: Table
) -> None:
    folder, diagnoses = tmp_path / "repo", tmp_path / "diagnoses.csv"
    env = project("payment-fraud", render, folder)
    real_data.write_diagnoses(diagnoses)
    edit(folder / "schema.yaml", "label_column", "diagnosis")
    edit(folder / "schema.yaml", "slice_column", '""')
    assert (ingested := run_ingest(folder, diagnoses, env)).returncode == 0, ingested.stderr
    # 100 held-out rows prove less than 0.9.
    edit(folder / "scope.yaml", "min_metric", "0.85")
    make(folder, "model", env)
    gates = passed_gates(folder)
    assert all(gates.values()) and "baseline_shipped" in gates and "baseline_gain" not in gates
    for target in ("example", "release"):
        make(folder, target, env)
    check_server(folder)
    table.append(row("payment-fraud", "scikit-learn's breast cancer table", folder))


def test_numbers_of_a_public_table(render: Render, tmp_path: Path, table: Table) -> None:
    folder, progressions = tmp_path / "repo", tmp_path / "progressions.csv"
    answers = {"modality": "tabular", "target": "cloud", "problem": "regression"}
    answers |= {"answer_unit": "points", "max_error": 60}
    shutil.copytree(render(**answers), folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    real_data.write_progressions(progressions)
    edit(folder / "schema.yaml", "label_column", "progression")
    edit(folder / "schema.yaml", "slice_column", '""')
    assert (ingested := run_ingest(folder, progressions, env)).returncode == 0, ingested.stderr
    # 80 held-out rows prove no coverage of 90 %.
    edit(folder / "scope.yaml", "min_coverage", "0.8")
    make(folder, "model", env)
    assert all(passed_gates(folder).values())
    for target in ("example", "release"):
        make(folder, target, env)
    check_server(folder)
    table.append(row("a number", "scikit-learn's diabetes table", folder))
