"""Answers given with an update, invalid answers, and new and removed questions."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import small_template as small
from repository import commit_files

pytestmark = small.MARKS


def test_changes_an_answer(template: Path, tmp_path: Path) -> None:
    small.release_template(
        template, {"serve.py": "serve\n", "size.txt.jinja": "{{ size }}\n"}, "v1.1.0"
    )
    project = small.render_project(template, tmp_path / "ours", target="edge")
    assert not (project / "serve.py").exists()
    commit_files(project, {"code.py": small.by_user(5)})
    status, words = small.run(project, "target=hybrid", "size=7", to="current", merge=True)
    assert status == 0
    assert words.startswith(f"ours: v1.1.0, from {template}\n")
    assert "changed answer: target is 'hybrid', was 'edge'\n" in words
    assert "changed answer: size is 7, was 5\n" in words
    assert (project / "serve.py").is_file()
    assert (project / "size.txt").read_text() == "7\n"
    assert (project / "code.py").read_text() == small.by_user(5)
    assert small.run(project, "target=hybrid", to="current")[1].endswith(
        "Nothing changes in the project.\n"
    )
    # A new answer needs no newer version.
    assert "changed answer: target is 'edge'" in small.run(project, "target=edge", merge=True)[1]
    assert not (project / "serve.py").exists()


@pytest.mark.parametrize("answer", ["modality=audio", "project_name=other"])
def test_rejects_another_answer_that_user_owned_files_depend_on(
    answer: str, template: Path, tmp_path: Path
) -> None:
    more = "modality: {type: str, default: image}\nproject_name: {type: str, default: ours}\n"
    small.release_template(template, {}, "v1.1.0", copier_yml=small.COPIER_YML + more)
    project = small.render_project(template, tmp_path / "ours")
    words = small.expect_refusal(project, answer, to="current")
    name, _, value = answer.partition("=")
    assert words.startswith(f"{name}: got '{value}'; this project keeps ")
    assert words.endswith("belong to you; for another one, run poc2prod new")
    kept = {"modality": "image", "project_name": "ours"}[name]
    assert small.run(project, f"{name}={kept}", to="current")[0] == 0


INVALID_ANSWERS = [
    ("target=clowd", "target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?"),
    ("traget=edge", "traget: got 'edge'; no such question; did you mean 'target'?"),
    ("size=big", "size: got 'big'; a whole number, like 5"),
    ("size", "size: write KEY=VALUE, like target=hybrid"),
    ("_commit=v1", "_commit: got 'v1'; no such question"),
    ("locked=x", "locked: got 'x'; derived from other answers; leave it out"),
    ("derived=x", "derived: got 'x'; derived from other answers; leave it out"),
]


@pytest.mark.parametrize(("answer", "words"), INVALID_ANSWERS, ids=lambda text: text[:9])
def test_rejects_an_invalid_answer(answer: str, words: str, template: Path, project: Path) -> None:
    more = "locked: {type: str, default: a, ask: false}\n"
    more += "derived: {type: str, default: b, when: false}\n"
    small.release_template(template, {}, "v1.2.0", copier_yml=small.COPIER_YML + more)
    assert small.expect_refusal(project, answer).startswith(words)


def test_names_recorded_answers_that_cannot_be_rendered(project: Path) -> None:
    answers = project / small.ANSWERS
    text = answers.read_text().replace("size: 5", 'size: "high"')
    text = re.sub(r"(?m)^target: .*", "target: clowd", text)
    commit_files(project, {small.ANSWERS: text})
    assert small.expect_refusal(project).splitlines() == [
        f"{answers}: target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?",
        f"{answers}: size: got 'high'; a whole number, like 5",
    ]


def test_reports_all_invalid_answers_at_once(project: Path) -> None:
    message = small.expect_refusal(
        project, "target=clowd", "size=big", "traget=edge", "package=a", "package=b"
    )
    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "traget",
        "package",
        "target",
        "size",
    ]


def test_stops_at_an_answer_that_the_new_version_rejects(template: Path, tmp_path: Path) -> None:
    project = small.render_project(template, tmp_path / "a b", size=500, target="cloud")
    strict = small.COPIER_YML.replace("cloud, edge, hybrid", "edge, hybrid").replace(
        "default: cloud", "default: edge"
    )
    strict = strict.replace(
        "default: 5}", "default: 5, validator: '{% if size > 100 %}100 or less, like 5{% endif %}'}"
    )
    small.release_template(template, {}, "v1.1.0", copier_yml=strict)
    before = small.state(project), small.traces(project)
    status, words = small.run(project)
    assert status == 1
    assert "rejected by the new version: size, 500 would become 5; 100 or less, like 5\n" in words
    assert (
        "rejected by the new version: target, 'cloud' would become 'edge'; one of edge, hybrid"
        in words
    )
    again = f"poc2prod update '{project}' --answer size=5 --answer target=edge"
    assert words.endswith(f"Stopped. To accept these answers, or to give others: {again}\n")
    assert (small.state(project), small.traces(project)) == before
    status, words = small.run(project, "size=99")
    assert status == 1 and "size" not in words.partition("rejected by")[2].partition(";")[0]
    answers = [text for text in shlex.split(again) if "=" in text]
    assert small.run(project, *answers, merge=True)[0] == 0
    recorded = yaml.safe_load((project / small.ANSWERS).read_text())
    assert (recorded["size"], recorded["target"]) == (5, "edge")


def test_questions_can_be_added_removed_and_renamed(template: Path, tmp_path: Path) -> None:
    project = small.render_project(template, tmp_path / "ours", size=7)
    renamed = small.COPIER_YML.replace(
        "size: {type: int, default: 5}",
        'size_mb: {type: int, default: "{{ size | default(5) }}", help: "How large is it?"}',
    )
    unasked = 'noise: {type: int, default: 1, ask: "{{ speed > 100 }}"}'
    renamed = renamed.replace(
        "target: {", f"speed: {{type: int, default: 3}}\n{unasked}\ntarget: {{"
    )
    small.release_template(
        template, {"size.txt.jinja": "{{ size_mb }}\n"}, "v1.1.0", copier_yml=renamed
    )
    status, words = small.run(project, "speed=4", merge=True)
    assert status == 0
    assert "new question: size_mb is 7, the default. How large is it?\n" in words
    assert "new question: speed is 4, as given. speed\n" in words
    assert "removed question: size, answered 7\n" in words
    assert "noise" not in words
    assert (project / "size.txt").read_text() == "7\n"
