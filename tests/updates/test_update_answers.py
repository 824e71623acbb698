"""Answers given with an update: new ones, wrong ones, and questions that come and go."""

import shlex
from pathlib import Path

import pytest
import yaml

from repository import committed
from small_template import (
    ANSWERS,
    COPIER_YML,
    by_user,
    refused,
    released,
    rendered,
    run,
    state,
    traces,
)

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("temporary")]


def test_an_answer_is_given_anew(template: Path, tmp_path: Path) -> None:
    released(template, {"serve.py": "serve\n", "size.txt.jinja": "{{ size }}\n"}, "v1.1.0")
    project = rendered(template, tmp_path / "ours", target="edge")
    assert not (project / "serve.py").exists()
    committed(project, {"code.py": by_user(5)})
    status, words = run(project, "target=hybrid", "size=7", to="current", merge=True)
    assert status == 0
    assert "ours: v1.1.0 -> v1.1.0" in words
    assert "answered anew: target is 'hybrid', was 'edge'\n" in words
    assert "answered anew: size is 7, was 5\n" in words
    assert (project / "serve.py").is_file()
    assert (project / "size.txt").read_text() == "7\n"
    assert (project / "code.py").read_text() == by_user(5)
    assert run(project, "target=hybrid", to="current")[1].endswith(
        "Nothing changes in the project.\n"
    )
    # With nothing newer, an answer alone is enough.
    assert "answered anew: target is 'edge'" in run(project, "target=edge", merge=True)[1]
    assert not (project / "serve.py").exists()


WRONG_ANSWERS = [
    ("target=clowd", "target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?"),
    ("traget=edge", "traget: got 'edge'; no such question; did you mean 'target'?"),
    ("size=big", "size: got 'big'; a whole number, like 5"),
    ("size", "size: write KEY=VALUE, like target=hybrid"),
    ("_commit=v1", "_commit: got 'v1'; no such question"),
    ("locked=x", "locked: got 'x'; derived from other answers; leave it out"),
    ("derived=x", "derived: got 'x'; derived from other answers; leave it out"),
]


@pytest.mark.parametrize(("answer", "words"), WRONG_ANSWERS, ids=lambda text: text[:9])
def test_a_wrong_answer_is_refused(answer: str, words: str, template: Path, project: Path) -> None:
    more = "locked: {type: str, default: a, ask: false}\n"
    more += "derived: {type: str, default: b, when: false}\n"
    released(template, {}, "v1.2.0", copier_yml=COPIER_YML + more)
    assert refused(project, answer).startswith(words)


def test_all_wrong_answers_are_told_at_once(project: Path) -> None:
    told = refused(project, "target=clowd", "size=big", "traget=edge", "package=a", "package=b")
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "traget",
        "package",
        "target",
        "size",
    ]


def test_an_answer_that_the_new_version_refuses_stops_it(template: Path, tmp_path: Path) -> None:
    project = rendered(template, tmp_path / "a b", size=500, target="cloud")
    strict = COPIER_YML.replace("cloud, edge, hybrid", "edge, hybrid").replace(
        "default: cloud", "default: edge"
    )
    strict = strict.replace(
        "default: 5}", "default: 5, validator: '{% if size > 100 %}100 or less, like 5{% endif %}'}"
    )
    released(template, {}, "v1.1.0", copier_yml=strict)
    before = state(project), traces(project)
    status, words = run(project)
    assert status == 1
    assert "refused by the new version: size, 500 would be 5; 100 or less, like 5\n" in words
    assert (
        "refused by the new version: target, 'cloud' would be 'edge'; one of edge, hybrid" in words
    )
    again = f"poc2prod update '{project}' --answer size=5 --answer target=edge"
    assert words.endswith(f"Stopped. To go on with these, or others: {again}\n")
    assert (state(project), traces(project)) == before
    status, words = run(project, "size=99")
    assert status == 1 and "size" not in words.partition("refused by")[2].partition(";")[0]
    answers = [text for text in shlex.split(again) if "=" in text]
    assert run(project, *answers, merge=True)[0] == 0
    recorded = yaml.safe_load((project / ANSWERS).read_text())
    assert (recorded["size"], recorded["target"]) == (5, "edge")


def test_questions_come_go_and_change_their_names(template: Path, tmp_path: Path) -> None:
    project = rendered(template, tmp_path / "ours", size=7)
    renamed = COPIER_YML.replace(
        "size: {type: int, default: 5}",
        'size_mb: {type: int, default: "{{ size | default(5) }}", help: "How large is it?"}',
    )
    renamed = renamed.replace("target: {", "speed: {type: int, default: 3}\ntarget: {")
    released(template, {"size.txt.jinja": "{{ size_mb }}\n"}, "v1.1.0", copier_yml=renamed)
    status, words = run(project, "speed=4", merge=True)
    assert status == 0
    assert "new question: size_mb is 7, the default. How large is it?\n" in words
    assert "new question: speed is 4, as answered. speed\n" in words
    assert "no longer asked: size, which was 7\n" in words
    assert (project / "size.txt").read_text() == "7\n"
