"""Defaults, rules, the text of every question, and estimates."""

import itertools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import MOST, NINE, NOT_OFFERED, OPTIONS, PAIRWISE, QUESTIONS, ROOT, Render
from environment import environment, release, requirements, variables
from poc2prod.estimate import Estimator
from poc2prod.questions import Questions
from poc2prod.units import unit_of
from test_new import git

OPEN = list(filter(QUESTIONS.is_open, QUESTIONS.specs))
OF_NUMBERS = {"answer_unit", "max_error", "min_coverage"}  # questions about numbers and series
NUMBERS = [name for name in OPEN if QUESTIONS.specs[name]["type"] in ("int", "float")]
RATIOS = {"min_metric", "max_slice_gap", "min_gain_over_baseline", "max_int8_drop"}
RATIOS |= {"max_error", "min_coverage"}  # or in the unit of the answer
UNITS = ("_ms", "_s", "_mb", "_usd_month")
TEXTS = {
    "project_name": st.from_regex(r"[a-z][a-z0-9]{2,14}(-[a-z0-9]{1,14})?", fullmatch=True),
    "decider": st.sampled_from(["", "@factory/quality", "ana@example.com"]),
    "not_for": st.text(min_size=3, max_size=120),
    "data_source": st.text(min_size=1, max_size=200),
    "answer_unit": st.text(max_size=20),
    "data_owner": st.sampled_from(["", "@data-team", "bo@example.com"]),
    "export_formats": st.sampled_from(["", "openvino", "litert, coreml"]),
    "dvc_remote": st.from_regex(r"[A-Za-z0-9._~:/@%+=-]{1,200}", fullmatch=True),
}
ANY_NUMBER = st.one_of(
    st.floats(-5, 7).map(lambda exponent: 10**exponent),
    st.floats(0, 1),
    st.integers(0, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
)


# Defaults


@st.composite
def scopes(draw: st.DrawFn) -> dict[str, Any]:
    """Answer some questions in their order, with valid answers only."""
    scope: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for name in QUESTIONS.specs:
        answers[name] = QUESTIONS.default(name, answers)
        if name in OPEN and draw(st.booleans()):
            chosen = st.sampled_from(OPTIONS.get(name, [""]))
            value = draw(ANY_NUMBER if name in NUMBERS else TEXTS.get(name, chosen))
            if not QUESTIONS.problem(name, value, answers):
                scope[name] = answers[name] = type(answers[name])(value)
    return scope


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(scopes())
def test_defaults_are_valid_after_any_valid_answers(scope: dict[str, Any]) -> None:
    answers, problems = QUESTIONS.settle(scope)
    assert problems == []
    assert QUESTIONS.settle({name: answers[name] for name in OPEN}) == (answers, [])


@pytest.mark.parametrize(("modality", "target"), NINE)
def test_defaults_are_those_of_copier(modality: str, target: str, render: Render) -> None:
    chosen = {"modality": modality, "target": target}
    recorded = yaml.safe_load((render(**chosen) / ".copier-answers.yml").read_text())
    answers, _ = QUESTIONS.settle(chosen)
    recorded_names = [
        name for name, spec in QUESTIONS.specs.items() if spec.get("when") is not False
    ]
    assert {name: answers[name] for name in recorded_names} == {
        name: value for name, value in recorded.items() if not name.startswith("_")
    }


# Rules


EXTREMES: list[dict[str, Any]] = [
    {"min_metric": 0.02, "max_latency_p95_ms": 1, "peak_requests_per_s": 0.001},
    {"min_metric": 0.999, "max_latency_p95_ms": 12345.678, "peak_requests_per_s": 987654.321},
]
SITUATIONS = [row | extreme for row in PAIRWISE for extreme in EXTREMES]
WRONG_NUMBERS = [-1.0, 1e-9, 1e300]
WRONG_TEXTS = ["", "Ana", "json", "line\n", "x" * 500, "s3://me:word@host/dvc"]


@dataclass(frozen=True)
class Rule:
    """The message about an answer, and the answers before it."""

    name: str
    words: str
    before: dict[str, Any]


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    """All messages of the validators in these situations."""
    messages = []
    for situation in SITUATIONS:
        answers: dict[str, Any] = {}
        for name in QUESTIONS.specs:
            answers[name] = QUESTIONS.default(name, answers)
            tried = wrong_answers(name) if name in OPEN else []
            words = {QUESTIONS.problem(name, value, answers) for value in tried} - {""}
            messages += [Rule(name, each, dict(answers)) for each in words]
            if name in situation and not QUESTIONS.problem(name, situation[name], answers):
                answers[name] = situation[name]
    return messages


def wrong_answers(name: str) -> list[Any]:
    """Return answers of the right type that may be invalid."""
    if name in NUMBERS:
        return WRONG_NUMBERS
    if name in ("problem", "metric", "baseline", "framework"):  # valid with some other answers
        return []
    return WRONG_TEXTS if name in TEXTS else OPTIONS[name]


def test_every_rule_was_shown(rules: list[Rule]) -> None:
    """A validator shows one message per branch."""
    for name in OPEN:
        messages = {re.sub(r"\d[\d.]*", "#", rule.words) for rule in rules if rule.name == name}
        validator = QUESTIONS.specs[name].get("validator", "")
        assert len(messages) == len(re.findall(r"\{%-?\s*(?:el)?if\b", validator)), (name, messages)


def test_a_rule_fits_its_line(rules: list[Rule]) -> None:
    assert {rule.words for rule in rules if not re.fullmatch(".{1,45}", rule.words)} == set()


def test_the_values_in_a_rule_are_valid(rules: list[Rule]) -> None:
    """Limits, examples and suggestions are valid answers."""
    wrong = set()
    for rule in rules:
        pattern = r"\d[\d.]*" if rule.name in NUMBERS else r"(?:like|word:|more:) (.+)"
        offered = re.findall(pattern, rule.words)
        offered += [""] * ("leave it empty" in rule.words)
        assert offered, rule.words
        for text in offered:
            value = QUESTIONS.parse(rule.name, text)
            if QUESTIONS.problem(rule.name, value, rule.before):
                wrong.add(f"{rule.name}: {text} is offered by: {rule.words}")
    assert wrong == set()


# Texts


def test_a_question_is_short_and_says_what_it_changes() -> None:
    for situation in SITUATIONS:
        answers, _ = QUESTIONS.settle(situation)
        for name in OPEN:
            words = QUESTIONS.help(name, answers)
            assert len(words) <= 100 and re.fullmatch(r"[^()]+\? \([^()]+\)", words), words


def test_a_number_has_a_unit() -> None:
    assert {name for name in NUMBERS if not name.endswith(UNITS)} == RATIOS
    assert {name for name in NUMBERS if not unit_of(name)} == RATIOS


def test_the_quick_interview_has_at_most_ten_questions_and_the_full_one_all() -> None:
    full = Questions.read(ROOT, full=True)
    for situation in SITUATIONS:
        answers, _ = QUESTIONS.settle(situation)
        # With devices, also for the size of the model.
        most = 10 + (answers["target"] != "cloud")
        assert sum(QUESTIONS.is_asked(name, answers) for name in OPEN) <= most
        answers, _ = full.settle(situation)
        asked = [name for name in full.specs if full.is_asked(name, answers)]
        is_number = answers["problem"] in ("regression", "forecast")
        others = {"min_metric"} if is_number else set(OF_NUMBERS)
        others |= {"torch_source"} if answers["framework"] in ("onnx", "trees") else set()
        assert asked == [name for name in OPEN if name not in others]


@pytest.mark.parametrize(
    ("problem", "metrics", "baselines"),
    [
        ("classification", "accuracy macro_f1 macro_recall", "linear majority"),
        ("multilabel", "macro_f1 mean_ap", "linear shares"),
        ("regression", "mae wape mape pinball", "linear mean"),
        ("forecast", "mae wape mase", "linear seasonal_naive"),
    ],
)
def test_only_metrics_and_baselines_that_fit_are_valid(
    problem: str, metrics: str, baselines: str
) -> None:
    choices = {"metric": metrics.split(), "baseline": baselines.split()}
    for name, fitting in choices.items():
        before, _ = QUESTIONS.settle({"modality": "tabular", "problem": problem}, until=name)
        listed = QUESTIONS.specs[name]["choices"].values()
        every = [each["value"] if isinstance(each, dict) else each for each in listed]
        valid = [each for each in every if not QUESTIONS.problem(name, each, before)]
        assert valid == fitting and QUESTIONS.default(name, before) in fitting


# Pairs


def test_every_pair_of_options_is_rendered() -> None:
    for name in OPEN:
        before, _ = QUESTIONS.settle(MOST, until=name)
        choices = {value for _, value in QUESTIONS.choices(name, before)}
        assert not choices or set(OPTIONS[name]) == choices
    for (one, ones), (other, others) in itertools.combinations(OPTIONS.items(), 2):
        # Which choices there are, depends on the problem or the framework.
        if {one, other} & {"metric", "baseline", "export_formats"}:
            continue
        rendered = {(row[one], row[other]) for row in PAIRWISE}
        every = itertools.product(ones, others)
        expected = {pair for pair in every if frozenset(pair) not in NOT_OFFERED}
        assert expected == rendered, (one, other)
    assert {(row["modality"], row["target"]) for row in PAIRWISE} == set(NINE)


# Estimates


COMPUTE = """
import json, sys
from scratch_detector.cost import cost_usd_month
print(json.dumps([cost_usd_month(*case) for case in json.load(sys.stdin)]))
"""


def test_an_estimate_is_the_cost_that_a_project_computes(render: Render) -> None:
    cases, estimated = [], []
    for modality, peak in itertools.product(OPTIONS["modality"], (0.5, 20.0, 777.7, 98765.4)):
        estimator = Estimator(QUESTIONS, {"modality": modality, "peak_requests_per_s": peak})
        for target, size_mb in itertools.product(OPTIONS["target"], (0, 3.5)):
            found = estimator.of(target, size_mb)
            mean_ms = {p: float(estimator.rules.mean_ms(p, size_mb)) for p in found.units}
            cases.append(({place: 1000 / ms for place, ms in mean_ms.items()}, peak))
            estimated.append(found.cost_usd_month)
    folder = render(target="hybrid")  # the only target with the prices of all places
    place = environment(requirements(folder, "serve"))
    computed = subprocess.run(
        [str(place / "bin" / "python"), "-c", COMPUTE],
        cwd=folder,
        env=variables(folder, place),
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    assert estimated == pytest.approx(json.loads(computed.stdout), abs=0.006)
    assert len(set(estimated)) > 20


@pytest.mark.parametrize("share", [1, 0.85])
@pytest.mark.parametrize("modality", OPTIONS["modality"])
def test_half_of_the_benchmark_is_possible_and_less_is_not(modality: str, share: float) -> None:
    """A machine twice as fast, or a network half the size, could meet these limits."""
    it = Estimator(QUESTIONS, {"modality": modality}).rules.it
    device_ms = max(it["device"]["p95_ms"] / 2, 0.1)  # the smallest limit of all
    server_ms = it["server"]["p95_ms"] / 2
    scopes: dict[str, dict[str, Any]] = {
        "max_latency_p95_ms": {"max_latency_p95_ms": share * device_ms},
        "target": {"target": "cloud", "max_latency_p95_ms": share * server_ms},
        "max_model_mb": {"max_model_mb": share * it["model_mb"] / 2},
    }
    for name, scope in scopes.items():
        _, problems = QUESTIONS.settle({"modality": modality} | scope)
        rejected = [problem.partition(":")[0] for problem in problems]
        assert rejected == ([name] if share < 1 else []), problems


LIMITS: dict[str, Any] = {
    "target": "hybrid",
    "max_latency_p95_ms": 5.0,
    "peak_requests_per_s": 100.0,
    "max_model_mb": 0.5,
    "max_cost_usd_month": 38.0,
    "buy_usd_month": 39.0,
}


def test_recorded_limits_stay_after_a_new_benchmark(tmp_path: Path) -> None:
    """`copier update` of a project with limits that a new project could not choose."""
    template, folder = release(tmp_path / "template"), tmp_path / "mine"
    versioned(template, "v1.0.0")
    assert Questions.read(template).settle(LIMITS)[1] == []
    copier.run_copy(str(template), folder, data=LIMITS, defaults=True, quiet=True)
    versioned(folder, "start")
    table = template / "includes" / "reference.yaml"
    measured = yaml.safe_load(table.read_text())
    measured["models"] = {name: a_hundredfold(it) for name, it in measured["models"].items()}
    table.write_text(yaml.safe_dump(measured))
    versioned(template, "v1.1.0")
    problems = Questions.read(template).settle(LIMITS)[1]
    impossible = LIMITS.keys() - {"peak_requests_per_s"}
    assert {problem.partition(":")[0] for problem in problems} == impossible
    before = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    copier.run_update(folder, defaults=True, overwrite=True, quiet=True)
    after = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert after == before | {"_commit": "v1.1.0"}
    scope = yaml.safe_load((folder / "scope.yaml").read_text())
    assert {name: scope[name] for name in LIMITS} == LIMITS


def versioned(folder: Path, tag: str) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", f"--message={tag}")
    git(folder, "tag", tag)


def a_hundredfold(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: a_hundredfold(value) if isinstance(value, dict) else 100 * value
        for name, value in figures.items()
    }


@pytest.mark.parametrize("problem", ["classification", "multilabel", "regression"])
def test_plain_copier_cuts_no_question_on_80_columns(problem: str) -> None:
    """Copier does not wrap; it writes an icon before a question."""
    answers, _ = QUESTIONS.settle({"problem": problem, "answer_unit": "m"})
    lines = [
        line
        for name in filter(QUESTIONS.is_open, QUESTIONS.specs)
        for line in QUESTIONS.text(QUESTIONS.specs[name]["help"], answers).splitlines()
    ]
    assert [line for line in lines if len(line) > 77] == []
