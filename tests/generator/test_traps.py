"""Commands that examine a repository run nothing of it, nor of a template that they only read.

The repository and the template are full of traps, each of which leaves a mark when it runs. Real
processes; each kind of trap is first seen to work.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environment import search_path
from poc2prod.addresses import redact, without_credentials
from repository import commit_files, git, write_files
from test_doctor import TEMPLATE

HOOKS = ("post-checkout", "reference-transaction", "post-index-change", "pre-commit", "post-merge")
MAKE = "all:; @true\nMARK := $(shell touch {marks}/make)\nsetup test:\n\ttouch {marks}/make\n"
BUILD = """
[build-system]
requires = []
build-backend = "evil"
backend-path = ["."]
"""
SECRETS = {
    "GITHUB_TOKEN": "planted-1",
    "AWS_SECRET_ACCESS_KEY": "planted-2",
    "SSH_AUTH_SOCK": "planted-3",
    "SCRATCH_DETECTOR_SIGNING_KEY": "planted-4",
    "UV_PUBLISH_TOKEN": "planted-5",
    "UV_INDEX_URL": "https://user:planted-6@127.0.0.1/simple",
    "HTTPS_PROXY": "http://user:planted-7@127.0.0.1:9",
    "PGPASSWORD": "planted-8",
}


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def program(marks: Path, name: str) -> str:
    """Write a program that leaves a mark; return its path."""
    path = marks.parent / f"run-{name}"
    path.write_text(f"#!/bin/sh\ntouch {marks}/{name}\nexec cat\n")
    path.chmod(0o755)
    return str(path)


def set_git_traps(repository: Path, marks: Path) -> None:
    """Name programs in the configuration of a repository."""
    for key in ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass"):
        git(repository, "config", key, program(marks, key))
    for key in ("core.alternateRefsCommand", "gpg.program", "credential.helper", "diff.external"):
        git(repository, "config", key, program(marks, key))
    for kind in (
        "filter.a=b.clean",
        "filter.a=b.smudge",
        "diff.evil.textconv",
        "merge.evil.driver",
    ):
        git(repository, "config", kind, program(marks, kind))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "alias.rev-parse", f"!{program(marks, 'alias')}")
    git(repository, "config", "protocol.ext.allow", "always")
    git(repository, "config", "remote.origin.url", f"ext::{program(marks, 'ext')}")
    git(repository, "config", "remote.origin.promisor", "true")
    git(repository, "config", "remote.origin.uploadpack", program(marks, "uploadpack"))
    hooks = repository / ".git" / "own-hooks"
    hooks.mkdir()
    for name in HOOKS:
        shutil.copy(program(marks, name), hooks / name)
    git(repository, "config", "core.hooksPath", str(hooks))
    info = repository / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* filter=a=b diff=evil merge=evil\n")


def poc2prod(folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "poc2prod", *words]
    variables = os.environ | {"PATH": search_path()} | env
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def place(tmp_path: Path, marks: Path) -> Path:
    """A template with a newer release, and a project of it, both with traps."""
    template = commit_files(tmp_path / "template", TEMPLATE, "v1.0.0")
    done = poc2prod(
        tmp_path, "new", "project", "--defaults", "--no-setup", "--template", "template"
    )
    assert done.returncode == 0, done.stderr
    project = tmp_path / "project"
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("_commit: HEAD", "_commit: v1.0.0"))
    evil = f"import pathlib\npathlib.Path('{marks}/python').touch()\n"
    files = {"evil.py": evil, "conftest.py": evil, "sitecustomize.py": evil, "setup.py": evil}
    pyproject = (
        (project / "pyproject.toml")
        .read_text()
        .replace("dependencies = []", 'dynamic = ["dependencies"]')
    )
    files |= {"Makefile": MAKE.format(marks=marks), "pyproject.toml": pyproject + BUILD}
    files["uv.lock"] = 'version = 1\n[[package]]\nname = "demo"\nversion = "0"\n'
    commit_files(project, files)
    for name in ("python", "python3"):
        (project / ".venv/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(program(marks, "interpreter"), project / ".venv/bin" / name)
    site = project / ".venv/lib/python3.11/site-packages"
    write_files(site, {"evil.pth": f"import pathlib; pathlib.Path('{marks}/pth').touch()\n"})
    newer = TEMPLATE | {"template/Makefile": MAKE.format(marks=marks), "template/new.txt": "new\n"}
    newer["CHANGELOG.md"] = "## 2.0.0\n\n- News.\n"
    commit_files(template, newer, "v2.0.0")
    for repository in (template, project):
        set_git_traps(repository, marks)
    return tmp_path


def test_the_traps_work(place: Path, marks: Path) -> None:
    project = place / "project"
    os.utime(project / "evil.py", (1, 1))
    subprocess.run(["git", "status"], cwd=project, capture_output=True)
    subprocess.run(["git", "log", "-p"], cwd=project, capture_output=True)
    subprocess.run(["git", "update-ref", "refs/heads/x", "HEAD"], cwd=project, capture_output=True)
    subprocess.run(["make"], cwd=project, capture_output=True)
    found = {path.name for path in marks.iterdir()}
    assert {"core.fsmonitor", "filter.a=b.clean", "reference-transaction", "make"} <= found


COMMANDS = {
    "doctor": ["doctor", "project"],
    "update": ["update", "project", "--dry-run"],
    "estimate": ["estimate", "--template", "template"],
    "explain": ["explain", "min_metric", "--template", "template"],
    "adopt": ["adopt", "project", "--template", "template"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_looking_runs_nothing(name: str, place: Path, marks: Path) -> None:
    for path in (place / "project").glob("*.*"):
        os.utime(path, (1, 1))  # git has to read the files again
    if name == "adopt":
        git(place / "project", "-c", "core.hooksPath=/dev/null", "rm", "-q", ".copier-answers.yml")
        commit = ("-c", "core.hooksPath=/dev/null", "commit", "-qm", "x", "--no-gpg-sign")
        git(place / "project", *commit)
        for path in marks.iterdir():
            path.unlink()
    result = poc2prod(place, *COMMANDS[name], **SECRETS)
    assert "Traceback" not in result.stderr
    assert name == "estimate" or result.returncode in (0, 1), result.stderr
    assert [path.name for path in marks.iterdir()] == []
    if name == "update":
        assert "new.txt" in result.stdout or "changed" in result.stdout, result.stdout


def test_special_files_of_a_project_are_not_read(place: Path) -> None:
    """A named pipe would stop `doctor`, and a link shows it a file of another user."""
    project = place / "project"
    (place / "private").write_text("min_metric: 0.123456\n")
    scope = project / "scope.yaml"
    scope.unlink()
    scope.symlink_to(place / "private")
    os.mkfifo(project / "src/demo/pipe.py")
    result = poc2prod(place, "doctor", "project")
    assert "0.123456" not in result.stdout + result.stderr
    assert "is a link that leads out of" in result.stdout
    assert "is not a regular file" in result.stdout


LINKS = ("template/link.txt", "CHANGELOG.md", "docs/scope.md", "includes/estimate.jinja")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n != LINKS[0])) for n in LINKS]
)
def test_a_template_is_read_only_inside(name: str, place: Path) -> None:
    (place / "private").write_text(
        "## `min_metric`\n\nplanted-secret\n\n## 9.0.0\n\nplanted-secret\n"
    )
    template = place / "template"
    (template / name).parent.mkdir(exist_ok=True)
    (template / name).unlink(missing_ok=True)
    (template / name).symlink_to(place / "private")
    for words in (
        ["explain", "min_metric", "--template", "template"],
        ["new", "other", "--defaults", "--template", "template"],
    ):
        result = poc2prod(place, *words)
        assert result.returncode == 1 and "leads out of the template" in result.stderr
    git(template, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "add", "--all")
    commit = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "commit", "-qm", "x")
    git(template, *commit, "--no-gpg-sign")
    git(template, "-c", "core.hooksPath=/dev/null", "tag", "v3.0.0")
    for words in (["update", "project", "--dry-run"], ["update", "project", "--no-test"]):
        result = poc2prod(place, *words)
        assert result.returncode == 1 and "leads out of the template" in result.stderr
        assert "planted-secret" not in result.stdout
    assert not list(place.glob("other*")) and not (place / "project/link.txt").exists()


def test_an_update_runs_the_new_version_only_with_consent(place: Path, marks: Path) -> None:
    result = poc2prod(place, "update", "project", "--no-merge", **SECRETS)
    assert result.returncode == 0, result.stderr
    assert "To allow it: --test" in result.stdout
    assert not (marks / "make").exists()


DUMP = """
setup:
	env > {marks}/setup.env
test:
	env > {marks}/test.env; cat "$$HOME/.netrc" >> {marks}/test.env; true
"""


def test_tests_of_an_update_have_no_secrets(place: Path, marks: Path) -> None:
    template, project = place / "template", place / "project"
    shutil.rmtree(template / ".git")
    shutil.rmtree(project / ".git")
    commit_files(template, TEMPLATE, "v1.0.0")
    commit_files(template, TEMPLATE | {"template/new.txt": "new\n"}, "v2.0.0")
    commit_files(project, {"Makefile": DUMP.format(marks=marks)})
    home = place / "home"
    write_files(home, {".netrc": "machine x password planted-9\n"})
    identity = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR",) for what in ("NAME", "EMAIL")}
    env = SECRETS | identity | {"HOME": str(home)}
    result = poc2prod(place, "update", "project", "--no-merge", "--test", **env)
    assert "make test passed" in result.stdout, result.stdout + result.stderr
    for name in ("setup.env", "test.env"):
        text = (marks / name).read_text()
        assert "PATH=" in text and "planted" not in text


def test_says_if_the_template_comes_from_another_place(place: Path) -> None:
    template, project = place / "template", place / "project"
    shutil.rmtree(project / ".git")
    commit_files(project)
    shutil.copytree(template, place / "elsewhere")
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace(str(template), str(place / "elsewhere")))
    commit_files(project)
    result = poc2prod(place, "update", "project", "--dry-run")
    assert f"another place than before: {template}" in result.stdout, result.stdout + result.stderr


# Credentials in addresses

SHAPES = (
    "https://alice:hunter2@127.0.0.1:9/x.git",
    "https://hunter2@127.0.0.1:9/x.git",
    "https://alice:hun/hunter2@127.0.0.1:9/x.git",
    "https://alice:a@hunter2@127.0.0.1:9/x.git",
    "https://127.0.0.1:9/x.git?sig=hunter2",
    "https://127.0.0.1:9/x.git?token=hunter2&a=b",
    "git+https://alice:hunter2@127.0.0.1:9/x.git",
    "ssh://alice:hunter2@127.0.0.1:9/x.git",
    "alice:hunter2@127.0.0.1:x.git",
    "https://ghp_hunter2@127.0.0.1:9/x.git",
    "https://x-access-token:hunter2@127.0.0.1:9/x.git",
)


EACH_SHAPE = pytest.mark.parametrize(
    "address", [pytest.param(a, marks=[pytest.mark.matrix] * (a not in SHAPES[:2])) for a in SHAPES]
)


@pytest.mark.parametrize("address", SHAPES)
def test_messages_hide_credentials(address: str) -> None:
    assert "hunter2" not in redact(f"fatal: unable to access '{address}/': failed")


@EACH_SHAPE
def test_no_command_prints_credentials(address: str, place: Path) -> None:
    project = place / "project"
    shutil.rmtree(project / ".git")
    answers = project / ".copier-answers.yml"
    text = answers.read_text()
    answers.write_text(text.replace(str(place / "template"), address))
    commit_files(project)
    for words in (
        ["new", "other", "--defaults", "--template", address],
        ["estimate", "--template", address],
        ["adopt", "project", "--template", address],
        ["update", "project", "--template", address],
        ["update", "project", "--dry-run"],
        ["doctor", "project"],
    ):
        result = poc2prod(place, *words, GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND="false")
        assert "hunter2" not in result.stdout + result.stderr, words
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://alice:hunter2@host:8080/x.git?sig=1#a", "https://host:8080/x.git"),
        ("git+https://tok@host/x", "git+https://host/x"),
        ("ssh://git@host:22/x.git", "ssh://git@host:22/x.git"),
        ("ssh://git:pw@host/x.git", "ssh://git@host/x.git"),
        ("git@host:x.git", "git@host:x.git"),
        ("gh:owner/name", "gh:owner/name"),
        ("/a/folder", "/a/folder"),
    ],
)
def test_addresses_are_recorded_without_credentials(address: str, clean: str) -> None:
    assert without_credentials(address) == clean


@pytest.mark.parametrize(
    "text", ["https://host:8080/a/b@v1.2", "ana@example.com", "git@host:x.git: denied", "a: b@c"]
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


# Text on a terminal

ESCAPES = ("\x1b]0;OWNED\x1b\\", "\x1b[8m", "\x9b31m", "\u202e", "\u2066", "\x07", "\x08", "\x7f")


def test_words_of_a_template_have_no_control_characters(tmp_path: Path) -> None:
    words = f"word{'word'.join(ESCAPES)}word"
    quoted = "".join(f"\\u{ord(c):04x}" if c == "\\" or not c.isprintable() else c for c in words)
    copier_yml = TEMPLATE["copier.yml"].replace(
        '{type: float, default: 0.9, validator: "{% if min_metric > 1 %}0 to 1{% endif %}"}',
        f'{{type: float, default: 0.9, help: "{quoted}", validator: "{quoted}"}}',
    )
    assert quoted in copier_yml
    copier_yml += f'_message_after_copy: "{quoted}"\n'
    log = f"## 2.0.0\n\n- {words} [a](https://example.com/{words})\n"
    page = f"## `min_metric`\n\n{words} [a](https://example.com/{words})\n"
    source = commit_files(tmp_path / "template", TEMPLATE | {"docs/scope.md": page}, "v1.0.0")
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    new = ["new", "project", "--defaults", "--template", "template"]
    assert poc2prod(tmp_path, *new).returncode == 0
    commit_files(tmp_path / "project")
    commit_files(source, {"copier.yml": copier_yml, "CHANGELOG.md": log}, "v2.0.0")
    answers = write_files(tmp_path, {"answers.yml": "min_metric: 0.8\n"}) / "answers.yml"
    for command in (
        ["explain", "min_metric", "--template", "template"],
        ["estimate", "--answers", str(answers), "--template", "template"],
        ["new", "other", "--defaults", "--template", "template"],
        ["update", "project", "--dry-run"],
    ):
        result = poc2prod(tmp_path, *command, **terminal)
        output = result.stdout + result.stderr
        assert "word?" in output or command[0] == "estimate", (command, output)
        assert not [escape for escape in ESCAPES if escape in output], (command, output)


@pytest.mark.parametrize("address", ["fd::17", "ext::sh -c touch% mark"])
def test_an_address_cannot_name_a_program(address: str, place: Path) -> None:
    project = place / "project"
    shutil.rmtree(project / ".git")
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace(str(place / "template"), f'"{address}"'))
    commit_files(project)
    result = poc2prod(place, "update", "project", "--dry-run")
    assert result.returncode == 1 and "not allowed" in result.stderr, result.stderr
    assert "Traceback" not in poc2prod(place, "doctor", "project").stderr


@pytest.mark.parametrize("text", ["{{ 'x' * 3000000000 }}", "{{ 9 ** 999999999 }}"])
def test_an_expression_cannot_take_all_memory(text: str, tmp_path: Path) -> None:
    copier_yml = f'size: {{type: str, default: "{text}"}}\n'
    commit_files(tmp_path / "template", {"copier.yml": copier_yml}, "v1.0.0")
    result = poc2prod(tmp_path, "explain", "size", "--template", "template")
    assert result.returncode == 1 and "too large" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
