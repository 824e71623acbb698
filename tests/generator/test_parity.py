"""The interview, `--answers` and plain Copier render the same bytes from the same answers.

Tested with 30 random sets of answers, some of them invalid. The seeds are fixed.
"""

import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from typer.testing import CliRunner

from conftest import OPTIONS, ROOT, fit_answers
from environment import release
from poc2prod.cli import app
from poc2prod.questions import Questions
from test_new import git

SEEDS = range(20)
EVERY_DAY = SEEDS[::10]  # `make test-all` runs them all
BY_COMMAND = SEEDS[::10]  # with the command `copier copy`; the others call Copier in this process
QUESTIONS = Questions.read(ROOT, full=True)
OPEN = list(filter(QUESTIONS.is_open, QUESTIONS.specs))
# Slightly wider than the valid ranges; some limits also depend on other answers.
RANGES = {
    "max_error": (-0.1, 9),
    "min_metric": (0.3, 1.01),
    "min_coverage": (0.49, 0.99),
    "max_slice_gap": (0, 0.4),
    "min_gain_over_baseline": (-0.01, 0.5),
    "max_latency_p95_ms": (0.3, 70_000),
    "peak_requests_per_s": (0.0008, 1_100_000),
    "max_model_mb": (0.01, 11_000),
    "max_int8_drop": (0, 0.205),
    "max_cost_usd_month": (20, 1_000_000),
    "buy_usd_month": (20, 1_000_000),
}
TEXTS = {
    "project_name": ["line-inspector", "xyz", "a-1", "x" * 30, "json-model"],
    "decider": ["", "@factory/quality", "ana.b+c@example.co.uk", "@ana"],
    "data_owner": ["", "@data-team", "bo@example.com", "@x/y_z"],
    "not_for": [
        'people\'s lives, or "fun"',
        "{{ x }} {{= project_name }} {% raw %} {%# ... #%}",
        "# ? if true",
        "größere Entscheidungen über 人, \N{WOMAN} und שלום",
        "C:\\new: $(date) `date` %s ${HOME}",
        "x" * 120,
    ],
    "data_source": ["exports/2026 (neu)", "тест/データ", "it's {{ here }}", "C:\\new", "- null"],
    "export_formats": ["", "openvino", "litert,coreml", "executorch, litert, coreml, openvino"],
    "answer_unit": ["°C", "m/s²", 'in "x"'],
    "dvc_remote": ["s3://bucket/dvc", "/srv/a=b%20c+d", "~/store", "null"],
}
WRONG = {
    "project_name": ["json", "Größe"],
    "decider": ["Ana"],
    "data_owner": ["bo@example"],
    "not_for": ["x" * 121],
    "data_source": ["x" * 201],
    "answer_unit": ["x" * 21],
    "dvc_remote": ["s3://me:word@host/dvc"],
    "export_formats": ["tflite", "litert, litert"],
}
Tree = dict[str, tuple[int, bytes]]


@dataclass(frozen=True)
class Outcome:
    """The rendered tree, or an error and no tree."""

    tree: Tree
    words: str


Three = tuple[Outcome, Outcome, Outcome]


def draw_answers(seed: int) -> dict[str, Any]:
    """Answer about half of the questions at random."""
    chance = random.Random(f"scope {seed}")
    drawn = {name: answer(name, chance) for name in OPEN if chance.random() < 0.5}
    fitting = fit_answers({"problem": "classification"} | drawn)
    # The interview does not ask what has no meaning with the other answers.
    answers, _ = QUESTIONS.settle(fitting)
    return {name: value for name, value in fitting.items() if QUESTIONS.applies(name, answers)}


def answer(name: str, chance: random.Random) -> Any:
    if name in TEXTS:
        return chance.choice(WRONG[name] if chance.random() < 0.03 else TEXTS[name])
    if name not in RANGES:
        return chance.choice(OPTIONS[name])
    low, high = RANGES[name]
    is_wide = low > 0 and high / low > 100
    value = (
        math.exp(chance.uniform(math.log(low), math.log(high)))
        if is_wide
        else chance.uniform(low, high)
    )
    return chance.choice([value, round(value, 2), round(value) if value > 10 else value])


@cache
def problems(seed: int) -> list[str]:
    return QUESTIONS.settle(draw_answers(seed))[1]


def interview_lines(seed: int) -> str:
    """Return the lines for the interview; they end with the first invalid answer."""
    given, wrong = draw_answers(seed), [problem.partition(":")[0] for problem in problems(seed)]
    answers, _ = QUESTIONS.settle(given)
    names = [name for name in OPEN if QUESTIONS.is_asked(name, answers)]
    asked = names[: names.index(wrong[0]) + 1] if wrong else names
    # Without a name, the interview would suggest the name of the folder.
    lines = [
        str(({"project_name": answers["project_name"]} | given).get(name, "")) for name in asked
    ]
    return "".join(f"{line}\n" for line in lines + ["y"] * (not wrong))


def tree(folder: Path) -> Tree:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
        if path.exists()
    }


def new(template: Path, folder: Path, *options: object, lines: str = "") -> Outcome:
    words = ["new", "--template", template, *options, folder]
    result = CliRunner().invoke(app, list(map(str, words)), input=lines)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == (0 if folder.exists() else 1), result.output
    return Outcome(tree(folder), result.output)


def run_copier(template: Path, folder: Path, answers: Path) -> Outcome:
    try:
        copier.run_copy(
            str(template),
            folder,
            data=yaml.safe_load(answers.read_text("utf-8")),
            defaults=True,
            quiet=True,
            vcs_ref="HEAD",
        )
    except ValueError as error:
        return Outcome(tree(folder), str(error))
    return Outcome(tree(folder), "")


def run_copier_command(template: Path, folder: Path, answers: Path) -> Outcome:
    plain = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref=HEAD", "--quiet"]
    command = [*plain, f"--data-file={answers}", str(template), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == folder.exists(), result.stderr
    return Outcome(tree(folder), result.stderr)


def three_ways(seed: int, template: Path, folder: Path) -> Three:
    given = draw_answers(seed)
    folder.mkdir()
    answers = folder / "answers.yml"
    answers.write_text(yaml.safe_dump(given, allow_unicode=True), "utf-8")
    copy = run_copier_command if seed in BY_COMMAND else run_copier
    return (
        copy(template, folder / "copied", answers),
        new(template, folder / "answered", "--answers", answers),
        new(template, folder / "interviewed", "--full", "--no-setup", lines=interview_lines(seed)),
    )


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Future[Three]]]:
    """Render all selected sets in the three ways, in parallel."""
    params = (getattr(item, "callspec", None) for item in request.session.items)
    wanted = [seed.params["seed"] for seed in params if seed and "seed" in seed.params]
    folder = tmp_path_factory.mktemp("parity")
    template = release(folder / "template")
    git(template, "init", "--quiet")
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message=release")
    git(template, "tag", "v1.0.0")
    pool = ProcessPoolExecutor()
    yield {seed: pool.submit(three_ways, seed, template, folder / f"{seed}") for seed in wanted}
    pool.shutdown(cancel_futures=True)


def test_the_sets_cover_every_question_and_some_are_invalid() -> None:
    assert {name for seed in SEEDS for name in draw_answers(seed)} == set(OPEN)
    rejected = [seed for seed in SEEDS if problems(seed)]
    assert 5 <= len(rejected) <= len(SEEDS) / 3
    assert any("USD or more" in problem for seed in rejected for problem in problems(seed))


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[] if s in EVERY_DAY else pytest.mark.long) for s in SEEDS]
)
def test_all_three_render_the_same_bytes(seed: int, outcomes: dict[int, Future[Three]]) -> None:
    copied, answered, interviewed = outcomes[seed].result()
    assert bool(copied.tree) == (not problems(seed)), copied.words
    for other in (answered, interviewed):
        names = copied.tree.keys() | other.tree.keys()
        assert [name for name in names if copied.tree.get(name) != other.tree.get(name)] == []
    if problems(seed):
        match = re.search(
            r"(?:Validation error for question|Invalid choice for) '(\w+)': (.+)", copied.words
        )
        assert match, copied.words
        name, rule = match.groups()
        ours = rf"{name}: got .+; {re.escape(rule)}(; (cheapest change:|one of) .+)?"
        assert re.fullmatch(ours, answered.words.splitlines()[0])
        said = re.findall(rf"^{re.escape(rule)}(?:; one of .+)?$", interviewed.words, re.MULTILINE)
        assert len(said) == 1
        assert f" ({name}); answer all" in interviewed.words.splitlines()[-1]
