"""Text with a meaning in a shell, in Jinja or in YAML stays text, or is rejected with a message.

Every question with free text is tested; accepted text is read back from the rendered files.
"""

import ast
import configparser
import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from conftest import QUESTIONS, Render
from environment import environment, requirements, variables
from everyday import every_nth
from poc2prod.cli import app

FREE = [
    name
    for name, spec in QUESTIONS.specs.items()
    if QUESTIONS.is_open(name) and spec["type"] == "str" and not spec.get("choices")
]
BEFORE = {name: QUESTIONS.settle({}, until=name)[0] for name in FREE}
NASTY = [
    "it's '''not''' so",
    'say "no" """now"""',
    "C:\\new\\table\\",
    "key: value: more",
    "#1 # no comment",
    "😀🚀 größer",
    "שלום עולם",
    "{{ x }} }} {{",
    "{{= project_name }}",
    "{{= 7 * 7 }} {% raw %}",
    "{%# note #%}",
    "# ? if true",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "<script>alert(1)</script>",
    "%(x)s %s %",
    "${HOME} $HOME $$",
    "-rf",
    "--help",
    "null",
    "yes",
    "off",
    "true",
    "1e3",
    "0x1f",
    "2026-11-21",
    "1:30:00",
    "- a",
    "? a",
    "&a *b",
    "!!python/object/apply:os.system [touch pwned]",
    "---",
    "[a, {b: c}]",
    "| >-",
    "@--",
    "null@example.com",
    "-a+b@example.com",
    "s3://-oProxyCommand=touch/%40..",
    "litert, openvino",  # for export_formats
]
REJECTED = [  # by every question
    "new\nline",
    "carriage\rreturn",
    "tab\tulator",
    "nul\0byte",
    "next\x85line",
    "line\u2028separator",
    "\ufeffmark",
    "right\u202eleft",
    "half \ud83d",
    "  blanks  ",
    "xyz\n",
    "ana@example.com\n",
    "s3://bucket/dvc\n",
]


def scope(key: str) -> Callable[[Path], str]:
    return lambda folder: str_of(yaml.safe_load((folder / "scope.yaml").read_text())[key])


def str_of(value: Any) -> str:
    assert isinstance(value, str), f"{value!r} is not text"
    return value


def owner(file: str) -> Callable[[Path], str]:
    def read(folder: Path) -> str:
        lines = (folder / ".github/CODEOWNERS").read_text().splitlines()
        return dict(line.split(" ") for line in lines if not line.startswith("#"))[file]

    return read


def project(folder: Path) -> str:
    return str_of(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"])


def source(folder: Path) -> str:
    return str_of(yaml.safe_load((folder / "schema.yaml").read_text())["source"])


def remote(folder: Path) -> str:
    config = configparser.ConfigParser(interpolation=None)
    config.read(folder / ".dvc/config")
    return config["'remote \"store\"'"]["url"]


def formats(folder: Path) -> str:
    stages = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    return ", ".join(stages["formats"]["foreach"])


READ_BACK: dict[str, list[Callable[[Path], str]]] = {
    "project_name": [project, scope("project")],
    "decider": [scope("decider"), owner("/scope.yaml")],
    "not_for": [scope("not_for")],
    "answer_unit": [],  # only projects whose answer is a number render it
    "data_source": [source],
    "data_owner": [scope("data_owner"), owner("/schema.yaml")],
    "dvc_remote": [remote],
    "export_formats": [formats],
}
PARSERS: dict[str, Callable[[str], object]] = {
    ".toml": tomllib.loads,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".json": json.loads,
    ".py": ast.parse,
    ".sh": lambda text: subprocess.run(["sh", "-n"], input=text, text=True, check=True),
}


def find_accepting(text: str) -> list[str]:
    """Return the questions that accept this text."""
    return [name for name in FREE if not QUESTIONS.problem(name, text, BEFORE[name])]


def test_every_text_question_is_read_back() -> None:
    assert READ_BACK.keys() == set(FREE), (
        "add to READ_BACK where the text of the question is rendered"
    )


def test_every_question_accepts_some_nasty_text() -> None:
    assert {name for text in NASTY for name in find_accepting(text)} == set(FREE)


@pytest.mark.parametrize("text", every_nth(6, NASTY, map(ascii, NASTY)))
def test_accepted_text_is_rendered_unchanged(text: str, render: Render) -> None:
    names = find_accepting(text)
    assert "not_for" in names and "data_source" in names
    folder = render(**dict.fromkeys(names, text))
    for path in folder.rglob("*"):
        if path.suffix in PARSERS:
            PARSERS[path.suffix](path.read_text())
    recorded = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    arrived = {name: [recorded[name], *(r(folder) for r in READ_BACK[name])] for name in names}
    assert {name: {text} for name in names} == {name: set(arrived[name]) for name in names}
    assert not list(folder.rglob("*pwned*")) and not Path("pwned").exists()


@pytest.mark.parametrize("text", NASTY + REJECTED, ids=ascii)
def test_rejected_text_has_a_message(text: str, source: Path, tmp_path: Path) -> None:
    rejected = [name for name in FREE if name not in find_accepting(text)]
    assert text in NASTY or rejected == FREE
    answers = tmp_path / "answers.yml"
    answers.write_text(yaml.safe_dump(dict.fromkeys(rejected, text)))
    command = ["new", "--answers", answers, "--template", source, tmp_path / "mine"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert [line.partition(": got ")[0] for line in result.stderr.splitlines()] == rejected
    rules = [line.rpartition("; ")[2] for line in result.stderr.splitlines()]
    assert all(rules) and result.stderr.replace("\n", "").isprintable()
    assert list(tmp_path.iterdir()) == [answers]


DESCRIBE = """
import json
from types import SimpleNamespace
from {package} import scope
from {package}.serving import app, settings
served = SimpleNamespace(release="unreleased")  # the description needs no model
server = app.create_app(scope.load_scope(), settings.ServerSettings.read(), served)
print(json.dumps(server.openapi()["info"]["description"]))
"""


def test_the_api_description_has_the_exact_text(render: Render) -> None:
    text = '"it\'s" \\n {{ x }} {{= y }} <b> %(x)s `$(touch pwned)` #1: &a *b - 😀 שלום'
    folder = render(not_for=text)
    place = environment(requirements(folder, "serve"))
    command = [str(place / "bin" / "python"), "-c", DESCRIBE.format(package="scratch_detector")]
    env = variables(folder, place)
    said = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == f"Not for {text}."
    assert not list(folder.rglob("*pwned*"))
