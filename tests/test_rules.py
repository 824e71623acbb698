"""Rules that keep plain `copier update` safe: each is a way in which it has eaten work."""

import re
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, Render
from poc2prod.questions import Questions

CONFIG = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = Questions.read(ROOT)
TEMPLATE = ROOT / "template"
PATHS = [path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("*")]
TASK_VARIANTS = {"image", "audio", "tabular"}


def test_no_answer_but_the_locked_package_name_is_in_a_path() -> None:
    values = {name for path in PATHS for name in re.findall(r"\{\{=\s*([\w.]+)", path)}
    conditions = {name for path in PATHS for name in re.findall(r"\{%-? *if (\w+)", path)}
    assert values == {"package_name", "_copier_conf.answers_file"}
    assert conditions == TASK_VARIANTS
    assert CONFIG["package_name"]["ask"] is False


def test_what_the_upgrade_page_calls_yours_is_never_touched() -> None:
    page = (ROOT / "docs/upgrade.md").read_text()
    (row,) = re.findall(r"^\| yours \|(.+?)\|", page, re.MULTILINE)
    assert set(re.findall(r"`(.+?)`", row)) == set(CONFIG["_skip_if_exists"])


@pytest.mark.parametrize("answers", [{}, {"target": "edge"}, {"ci": "none"}], ids=str)
def test_exclusions_hold_with_the_answers_of_any_older_release(answers: dict[str, str]) -> None:
    """A question that was not asked then is undefined now, and leaves nothing out."""
    (block,) = CONFIG["_exclude"]
    excluded = QUESTIONS.text(block, answers).split()
    assert bool(excluded) == bool(answers)


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


def test_an_attribute_file_keeps_line_ends(render: Render) -> None:
    assert "text=auto eol=lf" in (render() / ".gitattributes").read_text()


def test_only_the_answers_file_says_which_version_it_was(render: Render) -> None:
    """A version or a date in other files would be a change in every upgrade."""
    folder = render()
    words = re.compile(r"_commit|_src_path|poc2prod[ =]v?\d")
    for path in filter(Path.is_file, folder.rglob("*")):
        is_answers = path.name == ".copier-answers.yml"
        assert is_answers == bool(words.search(path.read_text())), path
