"""Rules that keep plain `copier update` safe: each is a way in which it has eaten work."""

import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, Render
from poc2prod.questions import Questions

CONFIG = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = Questions.read(ROOT)
TEMPLATE = ROOT / "template"
PATHS = [path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("*")]
RELEASES = sorted((ROOT / "tests/updates/releases").glob("*.tar.gz"))
MOVES = yaml.safe_load((ROOT / "hooks/moves.yml").read_text())
ALIASES = {"src/*/ingest.py"}  # there is a file at the old path, too
MOVED = {f"/{old}" for paths in MOVES.values() for old in {*paths} - ALIASES}
NUMBERS = [
    0,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.5,
    0.7,
    0.8,
    0.9,
    0.95,
    0.99,
    1,
    2,
    5,
    10,
    50,
    1e3,
    1e5,
]
TASK_VARIANTS = {"image", "audio", "tabular"}


def test_no_answer_but_the_locked_package_name_is_in_a_path() -> None:
    values = {name for path in PATHS for name in re.findall(r"\{\{=\s*([\w.]+)", path)}
    conditions = {name for path in PATHS for name in re.findall(r"\{%-? *if (\w+)", path)}
    assert values == {"package_name", "_copier_conf.answers_file"}
    assert conditions == TASK_VARIANTS
    assert CONFIG["package_name"]["ask"] is False


def test_what_the_upgrade_page_calls_yours_is_never_touched() -> None:
    page = (ROOT / "docs/upgrade.md").read_text()
    (row,) = re.findall(r"^\| you \|(.+?)\|", page, re.MULTILINE)
    assert set(re.findall(r"`(.+?)`", row)) == set(CONFIG["_skip_if_exists"])


@pytest.mark.parametrize("answers", [{}, {"target": "edge"}, {"ci": "none"}], ids=str)
def test_exclusions_hold_with_the_answers_of_any_older_release(answers: dict[str, str]) -> None:
    """A question that was not asked then is undefined now, and leaves nothing out."""
    (block,) = CONFIG["_exclude"]
    excluded = set(QUESTIONS.text(block, answers).split())
    now = {
        "/"
        + re.sub(r"{%.*?%}", "", path).replace("{{= package_name }}", "*").removesuffix(".jinja")
        for path in PATHS
    }
    # Beside files of today, only paths at which older releases had one.
    assert excluded >= MOVED and bool(excluded & now) == bool(answers)


def test_a_workflow_repeats_no_run_of_lines(render: Render) -> None:
    """Where a line and its context are there twice, `git apply` may take the wrong one."""
    for path in sorted((render() / ".github/workflows").glob("*.yml")):
        lines = path.read_text().splitlines()
        runs = ["\n".join(lines[i : i + 7]) for i in range(len(lines) - 6)]
        assert len(runs) == len(set(runs)), path.name


def test_hooks_refuse_what_an_upgrade_may_leave_behind(render: Render) -> None:
    hooks = yaml.safe_load((render() / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = {hook["id"]: hook for hook in hooks}
    assert "check-merge-conflict --assume-in-merge" in entries["merge-markers"]["entry"]
    assert entries["rejected-hunks"]["language"] == "fail"
    assert re.search(entries["rejected-hunks"]["files"], "src/x.py.rej")


def test_every_question_has_a_default_so_that_an_upgrade_never_stops_to_ask() -> None:
    assert [name for name, spec in QUESTIONS.specs.items() if "default" not in spec] == []


def given_up(old: Questions, new: Questions) -> list[str]:
    """Name the answers of a project of the old version that the new one would not keep."""
    recorded, _ = old.settle({})
    texts = [recorded[name] for name in old.specs if isinstance(recorded[name], str)]
    lost = []
    for name in filter(old.is_open, old.specs):
        kept = [
            spec for spec in new.specs.values() if re.search(rf"\b{name}\b", str(spec["default"]))
        ]
        if name not in new.specs:
            lost += [name] * (not kept)
            continue
        for value in [value for _, value in old.choices(name, recorded)] or [*NUMBERS, *texts]:
            if not old.problem(name, value, recorded):
                rule = new.problem(name, value, recorded)
                lost += [f"{name}={value}: {rule}"] * bool(rule)
    return lost


@pytest.mark.parametrize("archive", RELEASES, ids=lambda path: path.stem.removesuffix(".tar"))
def test_what_a_release_took_for_an_answer_is_still_one(archive: Path, tmp_path: Path) -> None:
    """Where Copier finds an old answer wrong, it takes the default without a word."""
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    assert given_up(Questions.read(tmp_path), QUESTIONS) == []


STRICTER = "{% if max_model_mb > 9 %}9 or less{% endif %}"
UNSAFE: dict[str, dict[str, Any]] = {
    "not_for": {},
    "target=hybrid: one of cloud, edge": {"choices": ["cloud", "edge"]},
    "max_model_mb=10: 9 or less": {"validator": STRICTER},
}


@pytest.mark.parametrize("said", UNSAFE)
def test_an_answer_that_would_be_lost_is_noticed(said: str) -> None:
    name, specs = re.split("[=:]", said)[0], dict(QUESTIONS.specs)
    specs[name] = specs[name] | UNSAFE[said]
    if not UNSAFE[said]:
        del specs[name]
    lost = given_up(QUESTIONS, replace(QUESTIONS, specs=specs))
    assert [line for line in lost if line.startswith(said)]
    assert all(re.split("[=:]", line)[0] == name for line in lost)


def test_a_question_may_have_another_name_if_it_takes_over_the_answer() -> None:
    specs = {
        ("not_to_do" if name == "not_for" else name): spec for name, spec in QUESTIONS.specs.items()
    }
    specs["not_to_do"] = specs["not_to_do"] | {"default": "{{= not_for | default('') }}"}
    assert given_up(QUESTIONS, replace(QUESTIONS, specs=specs)) == []


def test_an_attribute_file_keeps_line_ends(render: Render) -> None:
    assert "text=auto eol=lf" in (render() / ".gitattributes").read_text()


def test_only_the_answers_file_says_which_version_it_was(render: Render) -> None:
    """A version or a date in other files would be a change in every upgrade."""
    folder = render()
    words = re.compile(r"\b_commit|\b_src_path|poc2prod[ =]v?\d")
    for path in filter(Path.is_file, folder.rglob("*")):
        is_answers = path.name == ".copier-answers.yml"
        assert is_answers == bool(words.search(path.read_text())), path
