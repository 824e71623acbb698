"""docs/scope.md, the reference of the questions: complete, correct, and shown by `explain`."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import OPTIONS, QUESTIONS, ROOT
from poc2prod.explain import explain_question
from poc2prod.questions import Questions
from poc2prod.refusal import Refusal
from test_mutation import GATES

PAGE = (ROOT / "docs" / "scope.md").read_text()
SECTIONS = re.findall(r"^## `([^`\n]+)`\n\n(.*?)\n\n(?=## )", PAGE, re.DOTALL | re.MULTILINE)
PARTS = "What it is: (.+)\n\nWhat it changes: (.+)\n\nWhat teams usually choose: (.+)"
OPEN = list(filter(QUESTIONS.is_open, QUESTIONS.specs))
DEFAULTS = QUESTIONS.settle({})[0]
QUICK = [name for name in OPEN if QUESTIONS.is_asked(name, DEFAULTS)]

FILE = re.compile(r"`([\w./-]+\.(?:py|ya?ml|toml|md|html|jinja)|[\w./]*(?:LICENSE|CODEOWNERS))`")
RENDERED = {  # paths in a render
    re.sub(r"\{%.*?%\}", "", path.relative_to(ROOT / "template").as_posix()).removesuffix(".jinja")
    for path in (ROOT / "template").rglob("*")
}
MADE = {"reports/report.html"}  # written by a stage

GATE_LIST = re.compile(r"[Gg]ates?((?:(?:,|\sand|)\s+`[a-z0-9_]+`)+)")
GATE_IDS = {
    found.replace("{place}", place)
    for found in re.findall(
        r'(?:[Gg]ate|forbid)\(\s*(?:id=)?f?"([a-z0-9_{}]+)"',
        "".join(
            (ROOT / "template/src/{{= package_name }}" / name).read_text()
            for name in ("gates.py", "serving/load_test.py")
        ),
    )
    for place in ("server", "device")
} | {"coverage", "worst_label"}  # of numbers and of several labels, in problem/metrics.py


def gates(text: str) -> list[str]:
    return [gate for names in GATE_LIST.findall(text) for gate in re.findall("`(.+?)`", names)]


# The page


def test_every_question_has_a_section_and_quick_questions_come_first() -> None:
    assert len(QUICK) == 10
    assert [name for name, _ in SECTIONS] == [*QUICK, *(name for name in OPEN if name not in QUICK)]
    assert PAGE.count("\n## `") == len(SECTIONS)


@pytest.mark.parametrize(("name", "text"), SECTIONS, ids=lambda text: text[:30])
def test_a_section_has_three_parts(name: str, text: str) -> None:
    parts = re.fullmatch(PARTS, text, re.DOTALL)
    assert parts and not any("\n\n" in part for part in parts.groups())
    for part in parts.groups():
        assert 1 <= len(re.findall(r"[.?!](?=\s|$)", part)) <= 3
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    "name", sorted(OPTIONS.keys() - {"decider", "data_owner", "export_formats"})
)
def test_a_section_names_every_choice(name: str) -> None:
    text = dict(SECTIONS)[name]
    words = {
        "image": "image",
        "audio": "sound clip",
        "tabular": "table",
        "github": "GitHub Actions",
    }
    assert [value for value in OPTIONS[name] if words.get(value, f"`{value}`") not in text] == []


def test_every_named_file_exists() -> None:
    named = set(FILE.findall(PAGE)) - MADE
    missing = [
        name
        for name in named
        if not any(f"/{path}".endswith(f"/{name}") for path in RENDERED)
        and not (ROOT / name).is_file()
    ]
    assert missing == []
    assert {"scope.yaml", "task/features.py", ".github/CODEOWNERS", "LICENSE"} <= named


def test_exactly_the_existing_gates_are_named() -> None:
    assert set(gates(PAGE)) == GATE_IDS
    assert "latency_p95_server" in GATE_IDS


@pytest.mark.parametrize("name", GATES)
def test_a_number_names_exactly_its_gates(name: str) -> None:
    """tests/template/test_mutation.py finds these gates by changing the number."""
    changes = re.fullmatch(PARTS, dict(SECTIONS)[name], re.DOTALL)[2]
    assert set(gates(changes)) == set(GATES[name])


TABLE = PAGE.partition("\n|---|---|\n")[2]
REJECTED = re.findall(r"^\| `(.+)` \| `(.+)` \|$", TABLE, re.MULTILINE)


@pytest.mark.parametrize(("answers", "words"), REJECTED, ids=lambda text: text[:40])
def test_a_rejected_answer_has_the_documented_message(answers: str, words: str) -> None:
    _, problems = QUESTIONS.settle(yaml.safe_load(answers.replace("; ", "\n")))
    pattern = ".+".join(map(re.escape, words.split("...")))
    assert len(problems) == 1 and re.fullmatch(pattern, problems[0]), problems


def test_every_row_of_the_table_is_tested() -> None:
    assert len(REJECTED) == len(TABLE.splitlines()) >= 10


# The command


@pytest.mark.parametrize("name", OPEN)
def test_a_question_is_explained(name: str) -> None:
    text = explain_question(ROOT, QUESTIONS, name)
    assert text.startswith(f"## `{name}`\n\nWhat it is: ")
    assert dict(SECTIONS)[name] in text
    assert text.count("## `") == 1
    assert ("Asked only in the full interview." in text) == (name not in QUICK)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("min_metric", "Answer: a number. Default: `0.9`."),
        ("max_latency_p95_ms", "Answer: a number in ms. Default: `50.0`."),
        (
            "ci",
            "Answer: one of `github`, `none`. Default: `github`. Asked only in the full interview.",
        ),
        ("decider", "Answer: text. Default: empty. Asked only in the full interview."),
        (
            "target",
            "Answer: one of `cloud`, `edge`, `hybrid`. "
            "Default: `cloud`, computed from earlier answers.",
        ),
    ],
)
def test_an_explanation_ends_with_type_and_default(name: str, line: str) -> None:
    assert explain_question(ROOT, QUESTIONS, name).endswith(f"\n\n{line}\n")


def test_in_a_full_interview_every_question_is_asked() -> None:
    questions = Questions.read(ROOT, full=True)
    asked = [name for name in OPEN if questions.applies(name, questions.settle({})[0])]
    assert not any("full interview" in explain_question(ROOT, questions, name) for name in asked)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("max_latency", "max_latency: no such question; did you mean 'max_latency_p95_ms'?"),
        ("colour", f"colour: no such question; questions: {', '.join(OPEN)}"),
        ("_exclude", f"_exclude: no such question; questions: {', '.join(OPEN)}"),
        ("a\nb", f"'a\\nb': no such question; questions: {', '.join(OPEN)}"),
        ("server", "server: derived from other answers, so it is not a question"),
        ("package_name", "package_name: derived from other answers, so it is not a question"),
    ],
)
def test_rejects_an_unknown_question(name: str, words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        explain_question(ROOT, QUESTIONS, name)
    assert refusal.value.problems == (words,)


OTHER: dict[str, Any] = {
    "name": {"type": "str", "default": "me"},
    "workers": {"type": "int", "default": 2, "help": "How many, {{ name }}?"},
}


@pytest.mark.parametrize("page", [None, "# Another page\n", b"## `name`\n\nIt is \xff.\n"])
def test_without_a_section_it_shows_the_help(page: str | bytes | None, tmp_path: Path) -> None:
    (tmp_path / "copier.yml").write_text(yaml.safe_dump(OTHER, sort_keys=False))
    if page is not None:
        (tmp_path / "docs").mkdir()
        content = page.encode() if isinstance(page, str) else page
        (tmp_path / "docs" / "scope.md").write_bytes(content)
    assert explain_question(tmp_path, Questions.read(tmp_path), "workers") == (
        "## `workers`\n\nHow many, me?\n\nAnswer: a whole number. Default: `2`.\n"
    )
