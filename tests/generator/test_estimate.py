"""`poc2prod estimate`: latency, servers, devices and cost of a scope."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from poc2prod.cli import app
from poc2prod.estimate import Estimator
from poc2prod.questions import Questions

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = Questions.read(ROOT)
REFERENCE = yaml.safe_load((ROOT / "includes/reference.yaml").read_text())
PRICES = yaml.safe_load((ROOT / "includes/prices.yaml").read_text())


def estimate(answers: dict[str, Any], folder: Path) -> Result:
    path = folder / "answers.yml"
    path.write_text(yaml.safe_dump(answers))
    return CliRunner().invoke(app, ["estimate", "--answers", str(path), "--template", str(ROOT)])


def test_compares_the_targets_and_names_the_sources(tmp_path: Path) -> None:
    result = estimate({"modality": "audio", "max_latency_p95_ms": 10}, tmp_path)
    assert result.exit_code == 0
    words = re.sub(r"[\W_]+", " ", result.stdout)
    assert all(f" {target} " in words for target in ("cloud", "edge", "hybrid"))
    assert "chosen" in words and "recommended" in words and "bundled audio network" in words
    basis = [REFERENCE["measured_on"], REFERENCE["machine"], PRICES["as_of"], PRICES["source"]]
    assert all(re.sub(r"[\W_]+", " ", part) in words for part in basis)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.yml"]


def test_the_number_of_servers_follows_from_the_traffic() -> None:
    mean_ms = REFERENCE["models"]["image"]["server"]["mean_ms"]
    one_carries_per_s = PRICES["utilisation"] * 1000 / mean_ms
    for servers in (1, 2, 7):
        peak = {"peak_requests_per_s": (servers - 0.5) * one_carries_per_s}
        found = Estimator(QUESTIONS, peak).of("cloud")
        assert found.units == {"server": servers}
        assert found.cost_usd_month == pytest.approx(servers * PRICES["server"]["usd_month"])


def test_a_larger_network_is_slower_by_the_measured_slope() -> None:
    it = REFERENCE["models"]["image"]
    slope = it["device"]["p95_ms_per_mb"]
    small, large = (
        Estimator(QUESTIONS, {}).of("edge", mb).latency_p95_ms["device"] for mb in (0, 2)
    )
    assert small == pytest.approx(it["device"]["p95_ms"])
    assert large == pytest.approx(small + slope * (2 - it["model_mb"]))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"max_cost_usd_month": 20}, "cheapest change: target: edge"),
    ({"max_cost_usd_month": 2}, "cheapest change: target: edge and max_cost_usd_month: 5"),
    ({"max_cost_usd_month": 2, "target": "edge"}, "cheapest change: max_cost_usd_month: 5"),
    ({"buy_usd_month": 20}, "USD or more: buy; cheapest change: target: edge"),
]


@pytest.mark.parametrize(("answers", "words"), IMPOSSIBLE, ids=lambda value: str(value)[:40])
def test_an_impossible_budget_is_rejected_with_the_cheapest_change(
    answers: dict[str, Any], words: str, tmp_path: Path
) -> None:
    result = estimate(answers, tmp_path)
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.endswith(words)
    changes = re.findall(r"(\w+): ([\w.]+)", line.partition("cheapest change: ")[2])
    changed = answers | {name: yaml.safe_load(value) for name, value in changes}
    assert estimate(changed, tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("latency_ms", "target"), [(5, "edge"), (19.9, "edge"), (20, "hybrid"), (40, "cloud")]
)
def test_the_latency_limit_recommends_the_target(latency_ms: float, target: str) -> None:
    answers, problems = QUESTIONS.settle({"max_latency_p95_ms": latency_ms})
    assert (answers["target"], problems) == (target, [])
    assert Estimator(QUESTIONS, {"max_latency_p95_ms": latency_ms}).recommended == target


def test_rejects_a_template_without_estimates(tmp_path: Path) -> None:
    (tmp_path / "copier.yml").write_text("size: {type: int, default: 1}\n")
    result = CliRunner().invoke(app, ["estimate", "--template", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == "this template has no estimates: includes/estimate.jinja is missing\n"


def test_the_target_labels_name_the_count_and_the_price() -> None:
    answers = {"peak_requests_per_s": 2500.0}
    before, _ = QUESTIONS.settle(answers, until="target")
    estimator = Estimator(QUESTIONS, answers)
    for label, target in QUESTIONS.choices("target", before):
        found = estimator.of(target)
        counts = [f"{n} {place}{'s' * (n > 1)}" for place, n in found.units.items()]
        price = f"{found.cost_usd_month:.0f} USD per month"
        assert label.endswith(f": {' and '.join(counts)} for about {price}")
