"""Every answer changes behaviour, and every number decides a gate."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Render
from environment import environment, release, requirements, variables
from mutation import (
    BASE,
    Mutant,
    exact_reports,
    find_failed_gates,
    mutate,
    read_exported_limits,
    report,
)
from poc2prod.questions import Questions
from repository import run_in

SCOPE = "src/{{= package_name }}/scope.py"


@pytest.fixture(scope="module")
def mutants(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Mutant]:
    return mutate(source, tmp_path_factory.mktemp("mutants"))


def test_every_changed_answer_is_detected(
    mutants: list[Mutant], capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(mutants) == 0, capsys.readouterr().out
    assert '"kill_rate": 1.0' in capsys.readouterr().out


def test_every_answer_is_changed(mutants: list[Mutant], source: Path) -> None:
    questions = Questions.read(source)
    assert {m.name for m in mutants} == set(filter(questions.is_open, questions.specs))


GATES = {
    "min_metric": ["quality", "worst_slice"],
    "max_slice_gap": ["worst_slice"],
    "min_gain_over_baseline": ["baseline_gain"],
    "max_latency_p95_ms": [
        "latency_p95_device",
        "latency_p95_network",
        "latency_p95_server",
        "load_latency_p95",
    ],
    "peak_requests_per_s": ["build_or_buy", "cost", "load_cost"],
    "max_model_mb": ["model_size"],
    "max_int8_drop": ["int8_drop"],
    "max_error": ["int8_drop", "quality", "worst_slice"],
    "min_coverage": ["coverage"],
    "max_cost_usd_month": ["cost", "load_cost"],
    "buy_usd_month": ["build_or_buy"],
}


def test_one_percent_of_a_number_flips_exactly_its_gates(mutants: list[Mutant]) -> None:
    assert {m.name: m.gates for m in mutants if m.is_number} == GATES


ALERTS = {
    "min_metric": ["QualityBelowPromise"],
    "max_error": ["QualityBelowPromise"],
    "min_coverage": ["IntervalsTooNarrow"],
    "max_latency_p95_ms": ["DeviceSlow", "LatencyBudgetBurn"],
    "max_cost_usd_month": ["CostOverBudget"],
}


def test_one_percent_of_a_number_flips_exactly_its_alerts(mutants: list[Mutant]) -> None:
    assert {m.name: m.alerts for m in mutants if m.is_number and m.alerts} == ALERTS


@pytest.mark.parametrize(
    ("file", "old", "new", "test"),
    [
        ("server.yml", 'key="max_idle_s"', 'key="max_idle"', "rules_read_only_exported_limits"),
        ("server.yml", 'strictest{key="max_idle_s"}', "strictest", "every_limit_under_watch"),
        ("server.yml", "14.4 * 0.05", "14.4 * 0.5", "latency_budget_is_five_percent"),
        ("server.yml", "#retrain-due", "#retrain", "heading_in_the_runbook"),
    ],
)
def test_a_broken_alert_rule_fails_the_tests_of_the_project(
    modelled: Path, tmp_path: Path, file: str, old: str, new: str, test: str
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    path = folder / "deploy/alerts" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    look = ("python", "-m", "pytest", "-q", "tests/monitoring", "-k", test)
    result = run_in(folder, *look)
    assert result.returncode == 1 and test in result.stdout.partition("short test")[2]


DEAD = """
colour: {type: str, choices: [red, blue], default: red}
motto: {type: str, default: move slowly}
min_joy: {type: float, default: 0.5}
"""


def test_finds_questions_without_an_effect(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One is only in prose, one is an unused key of the scope, one is a number without a gate."""
    source = release(tmp_path / "template")
    planted = {
        "copier.yml": ("# Derived, never asked.", f"{DEAD}# Derived, never asked."),
        "template/README.md.jinja": (
            "## Start here",
            "{{= colour }} {{= min_joy }}\n\n## Start here",
        ),
        "template/scope.yaml.jinja": (
            "\n# Data.",
            "motto: {{= motto }}\nmin_joy: {{= min_joy }}\n\n# Data.",
        ),
        f"template/{SCOPE}": (
            "    not_for: str",
            "    motto: str\n    min_joy: float\n    not_for: str",
        ),
    }
    for name, (mark, text) in planted.items():
        path = source / name
        assert mark in path.read_text()
        path.write_text(path.read_text().replace(mark, text, 1))
    survivors = report(mutate(source, tmp_path / "mutants", only=("colour", "motto", "min_joy")))
    assert survivors == 3
    assert "Dead answers: colour, motto, min_joy\n" in capfd.readouterr().err


def test_rejects_a_report_about_another_metric(render: Render, source: Path) -> None:
    scope = Questions.read(source).settle(BASE)[0] | {"metric": "macro_f1"}
    with pytest.raises(SystemExit, match="is about macro_f1. Run evaluate again"):
        find_failed_gates(render(**BASE, project_name="another-metric"), exact_reports(scope))


ODD: dict[str, Any] = {
    "min_metric": 0.8123,
    "max_latency_p95_ms": 43.21,
    "max_model_mb": 3.579,
    "max_cost_usd_month": 345.6,
    "buy_usd_month": 456.7,
    "max_int8_drop": 0.0234,
    "min_gain_over_baseline": 0.0345,
    "project_name": "odd-numbers",
    "not_for": "odd purposes",
    "decider": "odd@example.com",
}
SAY = """
import json
from pathlib import Path
from types import SimpleNamespace
from {package} import gates, scope
from {package}.pipeline import card
from {package}.serving import app, settings
served = SimpleNamespace(release="unreleased")  # the description needs no model
server = app.create_app(scope.load_scope(), settings.ServerSettings.read(), served)
for gate in gates.verdicts(): print("gate", gate.limit)
Path("reports/gates.json").write_text(json.dumps([g.model_dump() for g in gates.verdicts()]))
for bucket in server.state.server.latency._upper_bounds: print("bucket", f"{{1000 * bucket:g}}")
print("api", server.description)
print("card", card.model_card())
"""


def test_a_number_is_the_same_everywhere(render: Render, tmp_path: Path) -> None:
    """Gate, histogram and card read it from one place."""
    folder = render(**ODD)
    reports = exact_reports(ODD | {"metric": "accuracy", "max_slice_gap": 0.1})
    reports["benchmark"].pop("device")
    reports |= {
        "ingest": {"source": "sample", "labels": {"clean": 200}, "slices": {"night": 200}},
        "train": {"trained_at": 0.0, "parameters": 1, "examples": 1, "features_version": 1},
    }
    scores = {"value": 0.5, "lower_bound": 0.4}
    reports["evaluate"] |= {"labels": ["clean", "worn"], "confusion": [[390, 2], [3, 5]]}
    reports["evaluate"]["baseline"] |= scores
    find_failed_gates(folder, reports)
    place = environment(requirements(folder, "serve"))
    command = [str(place / "bin" / "python"), "-c", SAY.format(package="odd_numbers")]
    env = variables(folder, place)
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    gates = {float(line.split()[1]) for line in result.stdout.splitlines() if line[:4] == "gate"}
    numbers = {value for value in ODD.values() if isinstance(value, float)}
    assert numbers <= gates
    assert "bucket 43.21\n" in result.stdout and "api Not for odd purposes.\n" in result.stdout
    card = result.stdout.partition("card")[2]
    assert all(f"{number:g} |" in card for number in numbers)
    assert "odd@example.com" in card and "| Not for | odd purposes |" in card
    in_scope = (folder / "scope.yaml").read_text()
    others = [p for p in code_files(folder) if re.search(r"43\.21|3\.579|345\.6", p.read_text())]
    assert all(str(number) in in_scope for number in numbers) and others == []
    shown = read_exported_limits(folder)
    assert 'promised_latency_bucket{le="0.04321"} 1.0\n' in shown
    assert 'scope_limit{key="min_metric"} 0.8123\n' in shown
    assert 'scope_limit{key="max_cost_usd_month"} 345.6\n' in shown


NOT_TYPED = ("scope.yaml", ".copier-answers.yml")


def code_files(folder: Path) -> list[Path]:
    kinds = (".py", ".toml", ".yml", ".yaml", "Makefile", "Dockerfile")
    return [
        path
        for path in folder.rglob("*")
        if path.name.endswith(kinds) and path.name not in NOT_TYPED
    ]
