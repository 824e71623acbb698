"""Mutation testing of answers: change each answer and check that something depends on it.

An answer is dead if changing it changes no file that a machine reads. A number is also dead if no
gate depends on it: measurements exactly on the limit must pass, and must fail if the limit is 1 %
stricter. The alerts that read a changed limit are recorded too. `make mutate` prints the result.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from environment import ROOT, environment, release, requirements, variables
from poc2prod.questions import Questions
from poc2prod.refusal import Refusal
from rendering import cache_compiled_templates, render_to

PRICES = yaml.safe_load((ROOT / "includes" / "prices.yaml").read_text())
COST_USD = 50 * (PRICES["server"]["usd_month"] + PRICES["device"]["usd_month"])
# Server and device exist, numbers are exact in binary, and fifty servers and devices are needed.
BASE: dict[str, Any] = {
    "target": "hybrid",
    "min_metric": 0.8125,
    "max_slice_gap": 0.125,
    "min_gain_over_baseline": 0.0625,
    "max_latency_p95_ms": 37.5,
    "peak_requests_per_s": 1000.0,
    "max_model_mb": 3.5,
    "max_int8_drop": 0.03125,
    "max_cost_usd_month": COST_USD,
    "buy_usd_month": COST_USD,
}
# For the questions that only numbers have.
NUMBERS: dict[str, Any] = BASE | {"problem": "regression", "max_error": 8.0, "min_coverage": 0.875}
NUMBERS |= {"max_slice_gap": 4.0}
TEXTS = {
    "answer_unit": "mm",
    "project_name": "line-inspector",
    "decider": "@factory/quality",
    "not_for": "medical diagnosis",
    "data_source": "exports/2026",
    "data_owner": "ana@example.com",
    "dvc_remote": "s3://bucket/dvc",
    "export_formats": "executorch, openvino",
}
MODEL = b"the evaluated model"
UNDER_LOAD = """
from {}.serving import load_test
print(*(g.id for g in load_test.compare_load() if not g.passed))
"""
LIMITS = """
from prometheus_client import CollectorRegistry, generate_latest
from {}.monitoring.scope_limits import show_limits
registry = CollectorRegistry()
show_limits(registry)
print(generate_latest(registry).decode())
"""
LOADS = ("pyarrow", "rich")  # training libraries that the load test imports
NOT_RUN = (".md", "LICENSE", ".copier-answers.yml")  # read by people only


@dataclass
class Mutant:
    """A changed answer, and its effects: files that differ, gates that fail, alerts that change."""

    name: str
    value: Any
    is_number: bool
    files: list[str] = field(default_factory=list)
    gates: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        """Whether the change had the required effect."""
        return bool(self.gates if self.is_number else self.files)


def exact_reports(scope: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return reports of a model that is exactly on every limit of the scope."""
    is_number = scope.get("problem") in ("regression", "forecast")
    limit, bound = ("max_error", "upper_bound") if is_number else ("min_metric", "lower_bound")
    gap = -scope["max_slice_gap"] if is_number else scope["max_slice_gap"]
    drop = -scope["max_int8_drop"] * scope["max_error"] if is_number else scope["max_int8_drop"]
    floor = scope[limit]
    exact = {"examples": 400, "value": 0.875, bound: floor}
    coverage = {"coverage": {"lower_bound": scope["min_coverage"]}} if is_number else {}
    p95_ms = scope["max_latency_p95_ms"]
    place = {"latency_p95_ms": p95_ms, "throughput_per_s": 40.0, "failures": 0}
    return {
        "ingest": {"source": "sample", "examples": 2000},
        "validate": {
            "contract_failures": 0,
            "missing_labels": 0,
            "leaks": 0,
            "near_copy_share": scope.get("max_near_copy_share", 0.5),
            "label_conflicts": 0,
            "repeated_ids": 0,
        },
        "export": {"max_difference": 0.0, "nonfinite_weights": 0},
        "compress": {
            "shipped": "int8_minmax",
            "size_mb": scope["max_model_mb"],
            "candidates": {"int8_minmax": {"latency_p95_ms": p95_ms, "batch_gap": 0.0}},
        },
        "evaluate": {
            "model_sha256": hashlib.sha256(MODEL).hexdigest(),
            "metric": scope["metric"],
            "score": exact,
            "fp32": exact | {"value": 0.875 + drop},
            "slices": {"night": exact | {bound: floor - gap}},
            "baseline": {"gain_lower_bound": scope["min_gain_over_baseline"]},
            "agreement": 1.0,
            "nonfinite_answers": 0,
            **coverage,
        },
        "benchmark": {"server": place, "device": place},
        "load": place | {"availability": 0.999},
    }


def alternatives(questions: Questions) -> Iterator[Mutant]:
    """Yield every other choice, another text, and each number made 1 % stricter."""
    for name, spec in questions.specs.items():
        start = base_of(questions, name)
        before, _ = questions.settle(start, until=name)
        if not questions.is_open(name):
            continue
        current = start.get(name, questions.default(name, before))
        if choices := [value for _, value in questions.choices(name, before)]:
            yield from (Mutant(name, value, False) for value in choices if value != current)
        elif spec["type"] in ("int", "float"):
            harder = 0.99 if name.startswith(("max_", "buy_")) else 1.01
            yield Mutant(name, current * harder, True)
        else:
            yield Mutant(name, TEXTS.get(name, f"{current}x"), False)


def base_of(questions: Questions, name: str) -> dict[str, Any]:
    """Return the first answers for which a question has a meaning, without those that have none."""
    for start in (BASE, NUMBERS):
        answers, _ = questions.settle(start)
        kept = {n: v for n, v in start.items() if questions.applies(n, answers)}
        if not questions.is_open(name) or questions.applies(name, answers):
            return kept
    raise ValueError(name)


def read_machine_files(folder: Path) -> dict[str, str]:
    """Read all files of a render that machines read; of the scope, the keys that code reads."""
    found = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(NOT_RUN)
    }
    code = "".join(t for n, t in found.items() if n.startswith("src/") and "/scope." not in n)
    limits = yaml.safe_load(found["scope.yaml"]).items()
    read = {key: value for key, value in limits if re.search(rf"\b{key}\b", code)}
    return found | {"scope.yaml": repr(read)}


def read_alert_rules(files: dict[str, str], limits: str) -> dict[str, str]:
    """Return the rules of each alert, with their recording rules and the limits they read."""
    found: dict[str, str] = {}
    for name in files:
        if not name.startswith("deploy/alerts/"):
            continue
        recorded: dict[str, str] = {}
        for rule in (r for g in yaml.safe_load(files[name])["groups"] for r in g["rules"]):
            reads = [text for record, text in recorded.items() if record in rule["expr"]]
            text = "\n".join([repr(rule), *reads, *select_samples(rule["expr"], limits)])
            if "record" in rule:
                # `:strictest` records all limits; an alert depends on the keys it selects.
                is_all = rule["record"].endswith(":strictest")
                recorded[rule["record"]] = "" if is_all else text
            else:
                found[rule["alert"]] = found.get(rule["alert"], "") + text
    return found


def select_samples(expr: str, limits: str) -> list[str]:
    """Return the samples of /metrics that a PromQL expression selects, by key or by name."""
    names = re.findall(r'key="\w+"|promised_latency_bucket|price_usd_month', expr)
    return [line for line in limits.splitlines() for name in names if name in line]


def read_exported_limits(render: Path) -> str:
    """Return the metrics that a render exports about its scope and prices."""
    place = environment(requirements(render, "serve"))
    show = [
        str(place / "bin" / "python"),
        "-c",
        LIMITS.format(next((render / "src").iterdir()).name),
    ]
    env = variables(render, place)
    return subprocess.run(
        show, cwd=render, env=env, capture_output=True, text=True, check=True
    ).stdout


def find_failed_gates(render: Path, reports: dict[str, dict[str, Any]]) -> set[str]:
    """Return the gates that these reports fail, in an environment without PyTorch."""
    for folder in ("models", "reports"):
        (render / folder).mkdir(exist_ok=True)
    (render / "models/shipped.onnx").write_bytes(MODEL)
    for name, content in reports.items():
        (render / "reports" / f"{name}.json").write_text(json.dumps(content))
    place = environment(requirements(render, "serve"))
    package = next((render / "src").iterdir()).name
    check = [str(place / "bin" / "python"), "-m", package, "check"]
    env = variables(render, place)
    result = subprocess.run(check, cwd=render, env=env, capture_output=True, text=True)
    if not (render / "reports" / "gates.json").exists():
        raise SystemExit(result.stderr)
    gates = json.loads((render / "reports" / "gates.json").read_text())
    failed = {gate["id"] for gate in gates if not gate["passed"]}
    assert result.returncode == bool(failed), result.stderr
    return failed | find_failed_load_gates(render, package)


def find_failed_load_gates(render: Path, package: str) -> set[str]:
    """Return the gates of `make load` that the reports fail."""
    tools = [tool for tool in requirements(render, "train") if tool.startswith(LOADS)]
    place = environment([*requirements(render, "serve"), *tools])
    command = [str(place / "bin" / "python"), "-c", UNDER_LOAD.format(package)]
    env = variables(render, place)
    result = subprocess.run(
        command, cwd=render, env=env, capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def mutate(source: Path, work: Path, only: Container[str] | None = None) -> list[Mutant]:
    """Render every mutant of a template, or those of some questions; record the effects of each."""
    questions = Questions.read(source)

    def render_mutant(name: str, answers: dict[str, Any]) -> Path:
        if wrong := questions.settle(answers)[1]:
            raise Refusal(*wrong)
        return render_to(work / name, source, answers)

    mutants = [m for m in alternatives(questions) if only is None or m.name in only]
    known = dict[str, tuple[Path, dict[str, str], dict[str, str], dict[str, Any]]]()
    for number, mutant in enumerate(track(mutants, "Mutating", console=Console(stderr=True))):
        start = base_of(questions, mutant.name)
        kind = start.get("problem", "")
        if kind not in known:
            base = render_mutant(f"base{kind}", start)
            files, exact = read_machine_files(base), exact_reports(questions.settle(start)[0])
            rules = read_alert_rules(files, read_exported_limits(base))
            if failed := find_failed_gates(base, exact):
                raise SystemExit(f"Measurements exactly on the limit fail {', '.join(failed)}")
            known[kind] = base, files, rules, exact
        _, before, rules, exact = known[kind]
        answers, _ = questions.settle(start | {mutant.name: mutant.value})
        kept = {n: v for n, v in start.items() if questions.applies(n, answers)}
        folder = render_mutant(str(number), kept | {mutant.name: mutant.value})
        after = read_machine_files(folder)
        names = before.keys() | after.keys()
        mutant.files = sorted(name for name in names if before.get(name) != after.get(name))
        if mutant.is_number:
            others = read_alert_rules(after, read_exported_limits(folder))
            mutant.alerts = sorted(name for name in rules if rules[name] != others.get(name))
            mutant.gates = sorted(find_failed_gates(folder, exact))
    return mutants


def report(mutants: list[Mutant]) -> int:
    """Print the effects of each mutant and the kill rate; return the number of survivors."""
    table = Table(title="Changed answers and their effects", title_justify="left")
    for heading in ("answer", "changed to", "detected by", ""):
        table.add_column(heading)
    for mutant in mutants:
        by = mutant.gates if mutant.is_number else mutant.files
        shown = ", ".join(by[:3]) + (f" and {len(by) - 3} more" if len(by) > 3 else "")
        verdict = "killed" if mutant.killed else "SURVIVED"
        table.add_row(mutant.name, f"{mutant.value}", shown, verdict)
    Console(width=110).print(table)
    survivors = [mutant.name for mutant in mutants if not mutant.killed]
    killed = len(mutants) - len(survivors)
    rate = killed / len(mutants)
    print(json.dumps({"mutants": len(mutants), "killed": killed, "kill_rate": rate}))
    if survivors:
        print(f"Dead answers: {', '.join(survivors)}", file=sys.stderr)
    return len(survivors)


if __name__ == "__main__":
    with TemporaryDirectory(prefix="poc2prod-") as name, cache_compiled_templates():
        template = release(Path(name) / "template")
        raise SystemExit(bool(report(mutate(template, Path(name) / "mutants"))))
