"""What is answered in the interview decides a gate: no answer is decoration."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Render
from environment import environment, requirements, variables

ANSWERS: dict[str, Any] = {
    "min_metric": 0.81,
    "max_latency_p95_ms": 37.5,
    "max_model_mb": 3.5,
    "peak_requests_per_s": 20.0,
    "max_cost_usd_month": 30.0,  # one server of the example prices
}
SCORE = {"examples": 400, "value": 0.9, "lower_bound": 0.81}
EVIDENCE: dict[str, dict[str, Any]] = {  # a model that is exactly as good as the answers above
    "validate": {"leaks": 0, "label_conflicts": 0, "repeated_ids": 0},
    "export": {"max_difference": 0.0},
    "quantize": {"int8_mb": 3.5},
    "evaluate": {
        "metric": "accuracy",
        "int8": SCORE,
        "fp32": SCORE,
        "slices": {"all": SCORE},
        "baseline": {"gain_lower_bound": 0.2},
        "int8_agreement": 1.0,
    },
    "benchmark": {"server": {"latency_p95_ms": 37.5, "throughput_per_s": 40.0}},
}
GATE_OF = {
    "min_metric": "quality",
    "max_latency_p95_ms": "latency_p95_server",
    "max_model_mb": "model_size",
    "peak_requests_per_s": "cost",
    "max_cost_usd_month": "cost",
}


def judged(render: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the evidence against this render's own scope, where no training library is."""
    shutil.copytree(render, folder, dirs_exist_ok=True)
    (folder / "reports").mkdir()
    for name, content in EVIDENCE.items():
        (folder / "reports" / f"{name}.json").write_text(json.dumps(content))
    place = environment(requirements(folder, "serve"))
    command = [str(place / "bin" / "python"), "-m", "scratch_detector", "check"]
    env = variables(folder, place)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_evidence_exactly_on_the_limit_passes(render: Render, tmp_path: Path) -> None:
    result = judged(render(**ANSWERS), tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("answer", ANSWERS)
def test_one_percent_more_is_refused_and_names_the_gate(
    answer: str, render: Render, tmp_path: Path
) -> None:
    harder = 1.01 if answer in ("min_metric", "peak_requests_per_s") else 0.99
    result = judged(render(**ANSWERS | {answer: ANSWERS[answer] * harder}), tmp_path)
    assert result.returncode == 1
    (broken,) = result.stderr.splitlines()[1:]
    key = "max_cost_usd_month" if GATE_OF[answer] == "cost" else answer
    assert broken.strip().startswith(GATE_OF[answer]) and f"(scope.yaml: {key})" in broken


@pytest.mark.parametrize(
    ("answer", "value"),
    [("metric", "macro_f1"), ("modality", "audio"), ("target", "edge"), ("ci", "none")],
)
def test_every_choice_changes_what_runs(answer: str, value: str, render: Render) -> None:
    def executable(folder: Path) -> dict[Path, str]:
        paths = (p for p in folder.rglob("*") if p.suffix != ".md" and p.is_file())
        return {
            p.relative_to(folder): p.read_text()
            for p in paths
            if p.name != ".copier-answers.yml" and "reports" not in p.parts
        }

    assert executable(render()) != executable(render(**{answer: value}))


def test_evidence_about_another_metric_is_no_evidence(render: Render, tmp_path: Path) -> None:
    result = judged(render(**ANSWERS, metric="macro_f1"), tmp_path)
    assert result.returncode == 1 and "is about accuracy. Run evaluate again" in result.stderr
