"""Rules that keep plain `copier update` safe. Breaking one of them has lost work before."""

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
ALIASES = {"src/*/ingest.py"}  # a file still exists at the old path
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
# `task`, `problem` and `target` have one folder per answer; a render contains one of each, at the
# same path.
VARIANTS = {"image", "audio", "tabular", "cloud", "edge", "device", "hybrid", "https", "mqtt"}
VARIANTS |= {"classification", "multilabel", "regression", "pytorch", "onnx", "trees", "converted"}
VARIANTS |= {"forecast", "numeric", "lightning", "keras", "torch", "network", "imported"}


def test_only_the_locked_package_name_is_in_paths() -> None:
    values = {name for path in PATHS for name in re.findall(r"\{\{=\s*([\w.]+)", path)}
    found = [
        text for path in PATHS for text in re.findall(r"\{%-? *if (?:not )?([\w ]+?) *%", path)
    ]
    conditions = {name for text in found for name in re.split(" and (?:not )?", text)}
    assert values == {"package_name", "_copier_conf.answers_file"}
    assert conditions == VARIANTS
    assert CONFIG["package_name"]["ask"] is False


def test_files_listed_as_yours_are_never_updated() -> None:
    page = (ROOT / "docs/upgrade.md").read_text()
    (row,) = re.findall(r"^\| you \|(.+?)\|", page, re.MULTILINE)
    assert set(re.findall(r"`(.+?)`", row)) == set(CONFIG["_skip_if_exists"])


@pytest.mark.parametrize("answers", [{}, {"target": "edge"}, {"ci": "none"}], ids=str)
def test_exclusions_work_with_answers_of_older_releases(answers: dict[str, str]) -> None:
    """The answer to a newer question is undefined and must exclude nothing."""
    (block,) = CONFIG["_exclude"]
    excluded = set(QUESTIONS.text(block, answers).split())
    now = {
        "/"
        + re.sub(r"{%.*?%}", "", path).replace("{{= package_name }}", "*").removesuffix(".jinja")
        for path in PATHS
    }
    # In addition to current files, only paths of older releases.
    assert excluded >= MOVED and bool(excluded & now) == bool(answers)


def test_a_workflow_does_not_repeat_lines(render: Render) -> None:
    """If a line and its context occur twice, `git apply` may change the wrong one."""
    for path in sorted((render() / ".github/workflows").glob("*.yml")):
        lines = path.read_text().splitlines()
        runs = ["\n".join(lines[i : i + 7]) for i in range(len(lines) - 6)]
        assert len(runs) == len(set(runs)), path.name


def test_hooks_reject_leftovers_of_an_update(render: Render) -> None:
    hooks = yaml.safe_load((render() / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = {hook["id"]: hook for hook in hooks}
    assert "check-merge-conflict --assume-in-merge" in entries["merge-markers"]["entry"]
    assert entries["rejected-hunks"]["language"] == "fail"
    assert re.search(entries["rejected-hunks"]["files"], "src/x.py.rej")


def test_every_question_has_a_default() -> None:
    assert [name for name, spec in QUESTIONS.specs.items() if "default" not in spec] == []


def lost_answers(old: Questions, new: Questions) -> list[str]:
    """Return the answers of an old version that the new version would reject."""
    recorded, _ = old.settle({})
    texts = [recorded[name] for name in old.specs if isinstance(recorded[name], str)]
    lost = []
    for name in filter(old.is_open, old.specs):
        replacing = [
            spec for spec in new.specs.values() if re.search(rf"\b{name}\b", str(spec["default"]))
        ]
        if name not in new.specs:
            lost += [name] * (not replacing)
            continue
        for value in [value for _, value in old.choices(name, recorded)] or [*NUMBERS, *texts]:
            if not old.problem(name, value, recorded):
                rule = new.problem(name, value, recorded)
                lost += [f"{name}={value}: {rule}"] * bool(rule)
    return lost


@pytest.mark.parametrize("archive", RELEASES, ids=lambda path: path.stem.removesuffix(".tar"))
def test_answers_of_a_release_are_still_valid(archive: Path, tmp_path: Path) -> None:
    """Copier replaces an invalid recorded answer by the default, without a message."""
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    assert lost_answers(Questions.read(tmp_path), QUESTIONS) == []


STRICTER = "{% if max_model_mb > 9 %}9 or less{% endif %}"
UNSAFE: dict[str, dict[str, Any]] = {
    "not_for": {},
    "target=hybrid: one of cloud, edge": {"choices": ["cloud", "edge"]},
    "max_model_mb=10: 9 or less": {"validator": STRICTER},
}


@pytest.mark.parametrize("problem", UNSAFE)
def test_finds_an_answer_that_would_be_lost(problem: str) -> None:
    name, specs = re.split("[=:]", problem)[0], dict(QUESTIONS.specs)
    specs[name] = specs[name] | UNSAFE[problem]
    if not UNSAFE[problem]:
        del specs[name]
    lost = lost_answers(QUESTIONS, replace(QUESTIONS, specs=specs))
    assert [line for line in lost if line.startswith(problem)]
    assert all(re.split("[=:]", line)[0] == name for line in lost)


def test_a_question_can_be_renamed_if_it_keeps_the_answer() -> None:
    specs = {
        ("not_to_do" if name == "not_for" else name): spec for name, spec in QUESTIONS.specs.items()
    }
    specs["not_to_do"] = specs["not_to_do"] | {"default": "{{= not_for | default('') }}"}
    assert lost_answers(QUESTIONS, replace(QUESTIONS, specs=specs)) == []


def test_gitattributes_set_line_endings(render: Render) -> None:
    assert "text=auto eol=lf" in (render() / ".gitattributes").read_text()


def test_only_the_answers_file_contains_the_version(render: Render) -> None:
    """A version or a date in another file would change with every update."""
    folder = render()
    words = re.compile(r"\b_commit|\b_src_path|poc2prod[ =]v?\d")
    for path in filter(Path.is_file, folder.rglob("*")):
        is_answers = path.name == ".copier-answers.yml"
        assert is_answers == bool(words.search(path.read_text())), path
