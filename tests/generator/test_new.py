"""`poc2prod new`: its output, its exit code and the files that it writes."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from typer.testing import CliRunner

from environment import search_path
from poc2prod.cli import app
from poc2prod.questions import Questions
from repository import commit_files, git, write_files

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
ANSWERS_FILE = "{{= _copier_conf.answers_file }}.jinja"


@pytest.fixture(autouse=True)
def hermetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate tests from settings, caches, git identity and colours of this machine."""
    own = tmp_path / "hermetic"
    for name in ("cache", "tmp"):
        (own / name).mkdir(parents=True)
    (own / "settings.yml").write_text("{}\n")
    (own / "gitconfig").write_text("[user]\n\tname = test\n\temail = test@example.org\n")
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(own / "settings.yml"))
    monkeypatch.setenv("COPIER_CACHE_DIR", str(own / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(own / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("TMPDIR", str(own / "tmp"))
    for name in ("POC2PROD_TEMPLATE", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for the destination."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The real questions, released as v1.0.0, with a template of four files."""
    names = ["copier.yml", "includes/prices.yaml", "docs/scope.md", "hooks/moves.yml"]
    names += [f"includes/{name}" for name in ("estimate.jinja", "reference.yaml")]
    return release_template(
        tmp_path / "template", {name: (ROOT / name).read_text() for name in names}
    )


def release_template(folder: Path, files: dict[str, str], tag: str = "v1.0.0") -> Path:
    tiny = {
        f"template/{ANSWERS_FILE}": "{{= _copier_answers | to_nice_yaml }}",
        "template/README.md.jinja": "# {{= project_name }}\n",
        "template/src/{{= package_name }}/__init__.py": "",
        "template/run.sh": "#!/bin/sh\n",
    }
    write_files(folder, tiny | files)
    (folder / "template/run.sh").chmod(0o755)
    return commit_files(folder, tag=tag)


def poc2prod(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poc2prod", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def new(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return poc2prod("new", *arguments, **options)


def new_in_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, for the long tables."""
    result = CliRunner().invoke(app, ["new", *map(str, arguments)])
    return subprocess.CompletedProcess([], result.exit_code, result.stdout, result.stderr)


def error_of(process: subprocess.CompletedProcess[str], place: Path) -> str:
    """Return the error of a failed command; it must leave no files."""
    assert process.returncode == 1, process
    assert "Traceback" not in process.stderr
    assert process.stdout == ""
    assert list(place.iterdir()) == []
    assert leftovers(place) == []
    return process.stderr


def leftovers(place: Path) -> list[str]:
    temporary = [place / "..", Path(os.environ["TMPDIR"])]
    return [path.name for where in temporary for path in where.glob("*poc2prod-*")] + [
        path.name for path in Path(os.environ["TMPDIR"]).iterdir()
    ]


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_answers(folder: Path, text: str | bytes) -> Path:
    path = folder.parent / "answers.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# Files of a project


def test_defaults_create_a_project_that_can_be_updated(template: Path, place: Path) -> None:
    folder = place / ("a long name, " * 8)
    process = new("--defaults", "--template", template, folder)
    assert (process.returncode, process.stderr) == (0, "")
    recorded = yaml.safe_load((folder / ".copier-answers.yml").read_text())
    assert (recorded["_commit"], recorded["_src_path"]) == ("v1.0.0", str(template))
    assert (folder / "src/scratch_detector/__init__.py").is_file()
    assert (folder / "run.sh").stat().st_mode & 0o100
    assert f"  cd '{folder}'\n" in process.stdout
    assert "\x1b" not in process.stdout
    assert [path.name for path in place.iterdir()] == [folder.name]
    assert leftovers(place) == []


def test_setup_commits_and_drops_its_step(template: Path, place: Path) -> None:
    release_template(template, {"template/Makefile": "setup:\n\t@git init -q\n"}, tag="v1.0.1")
    without = new("--defaults", "--template", template, place / "without")
    assert "make setup" in without.stdout and not (place / "without/.git").exists()
    process = new("--defaults", "--setup", "--template", template, place / "mine")
    assert process.returncode == 0, process.stderr
    assert "make setup" not in process.stdout and "make model" in process.stdout
    assert git(place / "mine", "log", "--format=%s") == "Start from poc2prod\n"
    assert git(place / "mine", "status", "--porcelain") == ""


@pytest.mark.parametrize("option", ["--setup", "--no-setup"])
def test_the_next_steps_install_what_is_not_on_the_path(
    option: str, template: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_template(template, {"template/Makefile": "setup:\n\t@git init -q\n"}, tag="v1.0.1")
    tools = place.parent / "tools"
    tools.mkdir()
    for path in Path("/usr/bin").iterdir():
        (tools / path.name).symlink_to(path)
    (tools / "uv").unlink(missing_ok=True)
    (tools / "uv").symlink_to(shutil.which("uv", path=search_path()) or "uv")
    monkeypatch.setenv("PATH", str(tools))
    arguments = ("--defaults", option, "--template", template)
    process = new(*arguments, place / "with")
    assert process.returncode == 0, process.stderr
    assert "pip install" not in process.stdout
    (tools / "uv").unlink()
    process = new(*arguments, place / "without")
    assert process.returncode == 0, process.stderr
    steps = process.stdout.splitlines()
    assert steps[1].split("#")[0].split() == ["pip", "install", "uv"]
    assert steps[2] == f"  cd {place}/without"


def test_the_default_template_is_this_checkout(place: Path) -> None:
    answers = write_answers(place, "traget: edge")
    assert "did you mean 'target'?" in error_of(new("--answers", answers, place / "mine"), place)


def test_a_git_address_uses_its_latest_release(template: Path, place: Path) -> None:
    (template / "template/run.sh").write_text("#!/bin/sh\necho ten\n")
    git(template, "commit", "--quiet", "--all", "--message=ten")
    git(template, "tag", "v1.10.0")
    (template / "copier.yml").write_text("not: released\n")
    git(template, "commit", "--quiet", "--all", "--message=next")
    git(template, "tag", "v1.9.0", "v1.0.0")
    git(template, "tag", "v2.0.0rc1")
    git(template, "clone", "--quiet", "--bare", ".", "../public.git")
    address = f"file://{template.parent}/public.git"
    process = new("--defaults", "--template", address, place / "mine")
    assert (process.returncode, process.stderr) == (0, "")
    recorded = yaml.safe_load((place / "mine/.copier-answers.yml").read_text())
    assert (recorded["_commit"], recorded["_src_path"]) == ("v1.10.0", address)
    assert "ten" in (place / "mine/run.sh").read_text()
    assert leftovers(place) == []


def test_a_git_bundle_works_without_a_network(template: Path, place: Path) -> None:
    git(template, "bundle", "create", "--quiet", "../course.bundle", "--all", "HEAD")
    process = new("--defaults", "--template", "../course.bundle", "mine", cwd=place)
    assert (process.returncode, process.stderr) == (0, "")
    recorded = yaml.safe_load((place / "mine/.copier-answers.yml").read_text())
    assert recorded["_src_path"] == str(template.parent / "course.bundle")


def test_warns_about_uncommitted_changes_of_the_template(template: Path, place: Path) -> None:
    (template / "template/run.sh").write_text("#!/bin/sh\necho draft\n")
    process = new("--defaults", "--template", template, place / "mine")
    assert process.returncode == 0
    assert process.stderr == (
        f"warning: {template} has uncommitted changes: "
        "later updates cannot find this version of the template\n"
    )


@pytest.mark.parametrize("answers", EXAMPLES, ids=lambda path: path.stem)
def test_plain_copier_gives_the_same_bytes(answers: Path, template: Path, place: Path) -> None:
    ours = new_in_process("--answers", answers, "--template", template, place / "ours")
    assert ours.returncode == 0
    plain = [sys.executable, "-m", "copier", "copy", "--defaults", "--vcs-ref=HEAD", "--quiet"]
    subprocess.run([*plain, f"--data-file={answers}", template, place / "plain"], check=True)
    assert tree(place / "ours") == tree(place / "plain") != {}
    assert (place / "ours").stat().st_mode == (place / "plain").stat().st_mode


GIVEN: list[dict[str, Any]] = [
    {},
    {"target": "edge", "min_metric": 0.95},
    {"target": "hybrid", "max_model_mb": 1, "project_name": "a-1"},
    {"modality": "tabular", "ci": "none", "metric": "macro_f1", "peak_requests_per_s": 0.5},
]


@pytest.mark.parametrize("given", GIVEN)
def test_reads_questions_like_copier(given: dict[str, Any], template: Path, tmp_path: Path) -> None:
    questions = Questions.read(template)
    answers, problems = questions.settle(given)
    copier.run_copy(str(template), tmp_path / "out", given, defaults=True, quiet=True)
    recorded = yaml.safe_load((tmp_path / "out/.copier-answers.yml").read_text())
    names = {name for name, spec in questions.specs.items() if spec.get("when") is not False}
    assert problems == []
    assert {name: answers[name] for name in names} == {
        name: value for name, value in recorded.items() if not name.startswith("_")
    }


def test_questions_can_be_booleans_and_integers(tmp_path: Path) -> None:
    (tmp_path / "copier.yml").write_text(
        "deep: {type: bool, default: false}\n"
        "sure: {type: bool, default: '{{ not deep }}'}\n"
        "workers: {type: int, default: 2, choices: [1, 2, 4]}\n"
    )
    questions = Questions.read(tmp_path)
    assert questions.settle({}) == ({"deep": False, "sure": True, "workers": 2}, [])
    assert questions.settle({"deep": True})[0]["sure"] is False
    assert questions.settle({"deep": 1, "workers": True})[1] == [
        "deep: got 1; true or false, like false",
        "workers: got true; one of 1, 2, 4",
    ]


# Rejected answers

WRONG_ANSWERS = [
    ("min_metric: 1.4", "min_metric: got 1.4; 0.01 to 0.999, like 0.9"),
    ("target: clowd", "target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?"),
    ("target: EDGE", "target: got 'EDGE'; one of cloud, edge, hybrid; did you mean 'edge'?"),
    ("metric: mae", "metric: got 'mae'; only for numbers; one of accuracy, macro_f1, macro_recall"),
    ("target: [edge]", "target: got ['edge']; one of cloud, edge, hybrid"),
    ("modality:", "modality: got nothing; one of image, audio, tabular"),
    ("ci: no", "ci: got false; one of github, none"),
    ("project_name: My Project", "project_name: got 'My Project'; 3 to 30 of a-z 0-9 -, like"),
    ("project_name: ab", "project_name: got 'ab'; 3 to 30 of a-z 0-9 -, like scratch-detector"),
    ("project_name: 2026", "project_name: got 2026; text, like scratch-detector"),
    ("min_metric: high", "min_metric: got 'high'; a number, like 0.9"),
    ("min_metric: '0.9'", "min_metric: got '0.9'; a number; write 0.9"),
    ("max_latency_p95_ms: 200 ms", "max_latency_p95_ms: got '200 ms'; a number in ms; write 200"),
    ("max_model_mb: 2 GB", "max_model_mb: got '2 GB'; a number in MB; write 2000"),
    ("max_cost_usd_month: 300 EUR", "max_cost_usd_month: got '300 EUR'; a number in USD per month"),
    ("min_metric: true", "min_metric: got true; a number, like 0.9"),
    ("min_metric: .nan", "min_metric: got nan; a number, like 0.9"),
    ("max_model_mb: .inf", "max_model_mb: got inf; a number in MB, like 20.0"),
    ("max_model_mb: {a: 1}", "max_model_mb: got {'a': 1}; a number in MB, like 20.0"),
    (f"max_model_mb: {'9' * 400}", "max_model_mb: got 9999"),
    (f"max_model_mb: 0x{'f' * 5000}", "max_model_mb: got a number of thousands of digits; a num"),
    ("max_latency_p95_ms: 70000", "max_latency_p95_ms: got 70000; 0.4"),
    ("max_cost_usd_month: 20", "max_cost_usd_month: got 20; 30.37 USD or more, like 61; "),
    ("dvc_remote: s3://ana:secret@b", "dvc_remote: got 's3://***@b'; a path or URL, no password"),
    ("traget: cloud", "traget: got 'cloud'; no such question; did you mean 'target'?"),
    ("colour: red", "colour: got 'red'; no such question; questions: project_name, decider"),
    ("7: red", "7: got 'red'; no such question; questions: project_name"),
    ('"a\\nb": red', "'a\\nb': got 'red'; no such question"),
    ("_commit: v1.0.0", "_commit: got 'v1.0.0'; no such question"),
    ("server: true", "server: got true; derived from other answers; leave it out"),
    ("package_name: mine", "package_name: got 'mine'; derived from other answers; leave it"),
    ("ci: none\nci: github", "ci: answered more than once, on lines 1 and 2; keep one"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_ANSWERS, ids=lambda text: text[:24])
def test_rejects_an_invalid_answer(text: str, words: str, place: Path) -> None:
    answers = write_answers(place, text)
    process = new_in_process("--answers", answers, "--template", ROOT, place / "mine")
    assert error_of(process, place).startswith(words)
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (
            "max_cost_usd_month: 200300",
            "200300 USD per month is 6,595 times the estimate (30 USD).",
        ),
        ("peak_requests_per_s: 400000", "400000 predictions per second need 1,542 servers."),
    ],
)
def test_warns_about_an_implausible_answer(
    answer: str, warning: str, template: Path, place: Path
) -> None:
    answers = write_answers(place, answer)
    process = new_in_process("--answers", answers, "--template", template, place / "mine")
    assert (process.returncode, process.stderr) == (0, f"warning: {warning}\n")


def test_prints_all_problems_at_once(template: Path, place: Path) -> None:
    text = "target: clowd\ntraget: edge\nmin_metric: 2\nci: none\nci: none\nserver: false\n"
    process = new("--answers", write_answers(place, text), "--template", template, place / "mine")
    fields = [line.partition(":")[0] for line in error_of(process, place).splitlines()]
    assert fields == ["ci", "traget", "min_metric", "target", "server"]


UNREADABLE = [
    (b"target: [edge", "answers.yml, line 1: not YAML, expected ',' or ']'"),
    (b"target: edge\n\tci: none", "answers.yml, line 2: not YAML, "),
    (b"a: !!python/object:os.system x", "answers.yml, line 1: not YAML, could not determine"),
    (b"- target\n- edge", "answers.yml: got ['target', 'edge']; write one `question: answer` per"),
    (b"target edge", "answers.yml: got 'target edge'; write one `question: answer` per line"),
    (b"# nothing yet\n", "answers.yml: got nothing; write one `question: answer` per line"),
    (b"!!set {target, ci}", "answers.yml: got {'"),
    (b"target: edge\n---\nci: none\n", "answers.yml, line 2: not YAML, but found another document"),
    (b"target: \xff\xfe", "answers.yml: not YAML, 'utf-8' codec can't decode byte 0xff"),
    (b"target: a\x00b", "answers.yml: not YAML, unacceptable character"),
    (b"ci: 2026-99-99", "answers.yml: not YAML, month must be in 1..12"),
    (b"[" * 5000, "answers.yml: not YAML, maximum recursion depth exceeded"),
]


@pytest.mark.parametrize(("text", "words"), UNREADABLE, ids=lambda text: repr(text)[:24])
def test_rejects_an_answers_file_that_is_not_a_mapping(
    text: bytes, words: str, place: Path
) -> None:
    answers = write_answers(place, text)
    process = new_in_process("--answers", answers, "--template", ROOT, place / "mine")
    assert words in error_of(process, place)
    assert process.stderr.count("\n") == 1


def test_rejects_a_missing_answers_file(template: Path, place: Path) -> None:
    missing = new("--answers", "gone.yml", "--template", template, place / "mine")
    assert error_of(missing, place) == (
        "gone.yml: No such file or directory; name an answers file\n"
    )
    folder = new("--answers", place, "--template", template, place / "mine")
    assert "Is a directory" in error_of(folder, place)


# Rejected destinations


def test_rejects_a_folder_that_is_not_empty(template: Path, place: Path) -> None:
    full = place.parent / "full"
    full.mkdir()
    (full / "work.txt").write_text("mine")
    (place.parent / "full-2").mkdir()
    process = new_in_process("--defaults", "--template", template, full)
    assert error_of(process, place) == (
        f"{full} is not empty; choose another folder, like {full}-3\n"
    )
    assert (full / "work.txt").read_text() == "mine"


def test_rejects_a_file_as_destination(template: Path, place: Path) -> None:
    file = place.parent / "file"
    file.write_text("mine")
    process = new_in_process("--defaults", "--template", template, file)
    assert error_of(process, place) == f"{file} is a file; choose another folder, like {file}-2\n"
    assert file.read_text() == "mine"


def test_rejects_a_missing_parent(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, place / "a/b")
    assert error_of(process, place) == (
        f"{place}/a does not exist; create it first: mkdir -p {place}/a\n"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder root cannot write to")
def test_rejects_a_read_only_destination(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, "/proc/mine")
    assert error_of(process, place).startswith("/proc cannot be written to; ")


def test_rejects_a_name_that_is_too_long(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, place / ("x" * 300))
    assert "File name too long" in error_of(process, place)


def test_rejects_a_link_loop(template: Path, place: Path) -> None:
    loop = place.parent / "loop"
    loop.symlink_to(loop)
    process = new_in_process("--defaults", "--template", template, loop)
    assert error_of(process, place) == f"{loop} cannot be written to; Not a directory\n"


def test_fills_an_empty_folder_without_replacing_it(template: Path, place: Path) -> None:
    place.chmod(0o750)
    before = place.stat()
    link = place.parent / "link"
    link.symlink_to(place)
    assert new("--defaults", "--template", "../template", ".", cwd=link).returncode == 0
    # A relative template is recorded as an absolute path.
    assert f"_src_path: {template}\n" in (place / ".copier-answers.yml").read_text()
    after = place.stat()
    assert link.is_symlink()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    names = {path.name for path in place.iterdir()}
    assert names == {".copier-answers.yml", "README.md", "run.sh", "src"}


# Rejected templates and missing tools


def test_rejects_a_source_that_is_not_a_template(place: Path) -> None:
    for source in (place, place / "gone", "https://example.org/owner/name"):
        process = new_in_process("--defaults", "--template", source, place / "mine")
        assert error_of(process, place) == (
            f"{source} is not a template; name a folder with a copier.yml, or a git address "
            "that ends with .git, like https://github.com/poc2prod/poc2prod.git\n"
        )


def test_rejects_an_unreachable_git_address(place: Path) -> None:
    process = new_in_process("--defaults", "--template", f"file://{place}/gone.git", place / "mine")
    assert "gone.git cannot be read; fatal: " in error_of(process, place)
    assert process.stderr.count("\n") == 1


BROKEN_QUESTIONS = [
    ("[", "not a YAML mapping of questions"),
    ("text", "not a YAML mapping of questions"),
    ("", "not a YAML mapping of questions"),
    ("name: plain", "name needs a default and one of the types str, int, float, bool"),
    ("name: {type: yaml, default: 1}", "name needs a default and one of the types str, int"),
    ("name: {type: str, default: '{{ gone.x }}'}", "copier.yml cannot be used: 'gone' is und"),
    ("name: {type: int, default: '{% if %}'}", "copier.yml cannot be used: Expected an expr"),
    (
        "name: {type: int, default: many}",
        "copier.yml: the default of name is 'many'; a whole number",
    ),
    ("_envops: {colour: red}\nname: {type: int, default: 1}", "copier.yml: _envops is not valid; "),
]


@pytest.mark.parametrize(("text", "words"), BROKEN_QUESTIONS, ids=lambda text: text[:24])
def test_rejects_invalid_questions(text: str, words: str, tmp_path: Path, place: Path) -> None:
    (tmp_path / "copier.yml").write_text(text)
    process = new_in_process("--defaults", "--template", tmp_path, place / "mine")
    assert words in error_of(process, place)
    assert process.stderr.count("\n") == 1


def test_a_failed_render_leaves_no_files(template: Path, place: Path) -> None:
    (template / "template/z.txt.jinja").write_text("{{= no_such_answer }}")
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message=broken")
    process = new("--defaults", "--template", template, place)
    assert error_of(process, place) == (
        f"{template} cannot be rendered; 'no_such_answer' is undefined\n"
    )


def test_warns_about_a_template_without_a_commit(tmp_path: Path, place: Path) -> None:
    (tmp_path / "copier.yml").write_text("size: {type: int, default: 1}\n")
    git(tmp_path, "init", "--quiet")
    process = new_in_process("--defaults", "--template", tmp_path, place / "mine")
    assert process.returncode == 0
    assert f"warning: {tmp_path} has uncommitted changes" in process.stderr


def test_fails_without_git(template: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    process = new("--defaults", "--template", template, place / "mine")
    assert error_of(process, place) == (
        "git is not installed, and later updates need it: apt install git\n"
    )


# Interrupts


@pytest.fixture
def slow_template(template: Path) -> Path:
    """A template with one file that takes a minute to render, also when processes wait."""
    for number in range(5):
        (template / f"template/a{number}.txt").write_text("quick")
    slow = "{%- for a in range(90000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}"
    (template / "template/b.txt.jinja").write_text(slow)
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message=slow")
    return template


@pytest.mark.parametrize(
    ("number", "existing"),
    [
        (signal.SIGINT, False),
        (signal.SIGINT, True),
        (signal.SIGTERM, False),
    ],
)
def test_an_interrupted_render_leaves_no_files(
    number: signal.Signals, existing: bool, slow_template: Path, place: Path
) -> None:
    folder = place if existing else place / "mine"
    arguments = ["new", "--defaults", "--template", str(slow_template), str(folder)]
    with subprocess.Popen(
        [sys.executable, "-m", "poc2prod", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 20
        while not list(place.rglob("a4.txt")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        assert process.stderr
        words = process.stderr.read()
        assert process.wait(20) == 130
    assert words == "Stopped.\n"
    assert list(place.iterdir()) == []
    assert leftovers(place) == []


# Help and usage


def test_prints_the_version() -> None:
    assert re.fullmatch(r"poc2prod \d+\.\d+\.\d+\n", poc2prod("--version").stdout)


@pytest.mark.parametrize(
    "command", [[], ["new"], ["estimate"], ["explain"], ["update"], ["doctor"], ["adopt"], ["demo"]]
)
def test_help_shows_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example: poc2prod " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new"], "Missing argument"),
        (["new", "mine", "--defaults", "--answers", "a.yml"], "give --answers FILE or --defaults"),
        (["explain"], "Missing argument"),
        (["new", "--default", "mine"], "No such option"),
        (["new", "--defaults", "mine", "yours"], "unexpected extra argument"),
        (["nwe"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], words: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert tree(place) == {}


def test_works_on_a_terminal_with_a_template_from_the_environment(
    template: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POC2PROD_TEMPLATE", str(template))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "poc2prod", "new", "--defaults", str(place / "mine")]
    process = subprocess.run(command, stdout=theirs, timeout=60, check=False)
    os.close(theirs)
    assert process.returncode == 0
    assert "scratch-detector is ready" in os.read(ours, 65536).decode()
    os.close(ours)
