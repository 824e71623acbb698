"""`poc2prod new`, as a user meets it: a process, its words, its exit code, what it leaves."""

import os
import pty
import re
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

from poc2prod.cli import app
from poc2prod.questions import Questions
from repository import committed, git, written

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
ANSWERS_FILE = "{{= _copier_conf.answers_file }}.jinja"


@pytest.fixture(autouse=True)
def hermetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user: no settings, no cache, no identity, no colours."""
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
    """An empty folder, to see afterwards whether something was left in it."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The real questions, released as v1.0.0, with a template of four files."""
    names = ["copier.yml", "includes/prices.yaml", "docs/scope.md", "hooks/moves.yml"]
    names += [f"includes/{name}" for name in ("estimate.jinja", "reference.yaml")]
    return released(tmp_path / "template", {name: (ROOT / name).read_text() for name in names})


def released(folder: Path, files: dict[str, str], tag: str = "v1.0.0") -> Path:
    tiny = {
        f"template/{ANSWERS_FILE}": "{{= _copier_answers | to_nice_yaml }}",
        "template/README.md.jinja": "# {{= project_name }}\n",
        "template/src/{{= package_name }}/__init__.py": "",
        "template/run.sh": "#!/bin/sh\n",
    }
    written(folder, tiny | files)
    (folder / "template/run.sh").chmod(0o755)
    return committed(folder, tag=tag)


def poc2prod(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poc2prod", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, **options
    )


def new(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return poc2prod("new", *arguments, **options)


def new_in_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same command without the price of a process, for the long tables."""
    result = CliRunner().invoke(app, ["new", *map(str, arguments)])
    return subprocess.CompletedProcess([], result.exit_code, result.stdout, result.stderr)


def refused(process: subprocess.CompletedProcess[str], place: Path) -> str:
    """The words of a refusal that left nothing behind."""
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


def answered(folder: Path, text: str | bytes) -> Path:
    path = folder.parent / "answers.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# What is written


def test_defaults_give_a_project_that_can_be_updated(template: Path, place: Path) -> None:
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


def test_what_was_set_up_is_committed_and_not_asked_for_again(template: Path, place: Path) -> None:
    released(template, {"template/Makefile": "setup:\n\t@git init -q\n"}, tag="v1.0.1")
    without = new("--defaults", "--template", template, place / "without")
    assert "make setup" in without.stdout and not (place / "without/.git").exists()
    process = new("--defaults", "--setup", "--template", template, place / "mine")
    assert process.returncode == 0, process.stderr
    assert "make setup" not in process.stdout and "make model" in process.stdout
    assert git(place / "mine", "log", "--format=%s") == "Start from poc2prod\n"
    assert git(place / "mine", "status", "--porcelain") == ""


def test_without_a_template_it_is_this_checkout(place: Path) -> None:
    answers = answered(place, "traget: edge")
    assert "did you mean 'target'?" in refused(new("--answers", answers, place / "mine"), place)


def test_a_git_address_gives_its_latest_release(template: Path, place: Path) -> None:
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


def test_a_git_bundle_is_enough_where_there_is_no_network(template: Path, place: Path) -> None:
    git(template, "bundle", "create", "--quiet", "../course.bundle", "--all", "HEAD")
    process = new("--defaults", "--template", "../course.bundle", "mine", cwd=place)
    assert (process.returncode, process.stderr) == (0, "")
    recorded = yaml.safe_load((place / "mine/.copier-answers.yml").read_text())
    assert recorded["_src_path"] == str(template.parent / "course.bundle")


def test_uncommitted_changes_of_the_template_are_warned_about(template: Path, place: Path) -> None:
    (template / "template/run.sh").write_text("#!/bin/sh\necho draft\n")
    process = new("--defaults", "--template", template, place / "mine")
    assert process.returncode == 0
    assert process.stderr == (
        f"warning: {template} has changes that are not committed: "
        "`copier update` will not find this version again\n"
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
def test_our_reading_of_the_questions_is_copiers(
    given: dict[str, Any], template: Path, tmp_path: Path
) -> None:
    questions = Questions.read(template)
    answers, problems = questions.settle(given)
    copier.run_copy(str(template), tmp_path / "out", given, defaults=True, quiet=True)
    recorded = yaml.safe_load((tmp_path / "out/.copier-answers.yml").read_text())
    kept = {name for name, spec in questions.specs.items() if spec.get("when") is not False}
    assert problems == []
    assert {name: answers[name] for name in kept} == {
        name: value for name, value in recorded.items() if not name.startswith("_")
    }


def test_questions_can_be_yes_or_no_whole_numbers_and_lists(tmp_path: Path) -> None:
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


# Answers that are refused

WRONG_ANSWERS = [
    ("min_metric: 1.4", "min_metric: got 1.4; 0.01 to 0.999, like 0.9"),
    ("target: clowd", "target: got 'clowd'; one of cloud, edge, hybrid; did you mean 'cloud'?"),
    ("target: EDGE", "target: got 'EDGE'; one of cloud, edge, hybrid; did you mean 'edge'?"),
    ("target: [edge]", "target: got ['edge']; one of cloud, edge, hybrid"),
    ("modality:", "modality: got nothing; one of image, audio, tabular"),
    ("ci: no", "ci: got false; one of github, none"),
    ("project_name: My Project", "project_name: got 'My Project'; 3 to 30 of a-z 0-9 -, like"),
    ("project_name: ab", "project_name: got 'ab'; 3 to 30 of a-z 0-9 -, like scratch-detector"),
    ("project_name: 2026", "project_name: got 2026; text, like scratch-detector"),
    ("min_metric: high", "min_metric: got 'high'; a finite number, like 0.9"),
    ("min_metric: '0.9'", "min_metric: got '0.9'; a finite number, like 0.9"),
    ("min_metric: true", "min_metric: got true; a finite number, like 0.9"),
    ("min_metric: .nan", "min_metric: got nan; a finite number, like 0.9"),
    ("max_model_mb: .inf", "max_model_mb: got inf; a finite number, like 20.0"),
    ("max_model_mb: {a: 1}", "max_model_mb: got {'a': 1}; a finite number, like 20.0"),
    (f"max_model_mb: {'9' * 400}", "max_model_mb: got 9999"),
    (f"max_model_mb: 0x{'f' * 5000}", "max_model_mb: got a number of thousands of digits; a fin"),
    ("max_latency_p95_ms: 70000", "max_latency_p95_ms: got 70000; 0.4"),
    ("max_cost_usd_month: 20", "max_cost_usd_month: got 20; 30.37 USD or more, like 61; "),
    ("dvc_remote: s3://ana:secret@b", "dvc_remote: got 's3://***@b'; a path or URL, no password"),
    ("traget: cloud", "traget: got 'cloud'; no such question; did you mean 'target'?"),
    ("colour: red", "colour: got 'red'; no such question; they are project_name, decider, not_f"),
    ("7: red", "7: got 'red'; no such question; they are project_name"),
    ('"a\\nb": red', "'a\\nb': got 'red'; no such question"),
    ("_commit: v1.0.0", "_commit: got 'v1.0.0'; no such question"),
    ("server: true", "server: got true; worked out from the other answers, so leave it out"),
    ("package_name: mine", "package_name: got 'mine'; worked out from the other answers, so le"),
    ("ci: none\nci: github", "ci: answered more than once, on lines 1 and 2; keep one"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_ANSWERS, ids=lambda text: text[:24])
def test_a_wrong_answer_is_refused(text: str, words: str, place: Path) -> None:
    answers = answered(place, text)
    process = new_in_process("--answers", answers, "--template", ROOT, place / "mine")
    assert refused(process, place).startswith(words)
    assert process.stderr.count("\n") == 1


def test_all_problems_are_told_at_once(template: Path, place: Path) -> None:
    text = "target: clowd\ntraget: edge\nmin_metric: 2\nci: none\nci: none\nserver: false\n"
    process = new("--answers", answered(place, text), "--template", template, place / "mine")
    fields = [line.partition(":")[0] for line in refused(process, place).splitlines()]
    assert fields == ["ci", "traget", "min_metric", "target", "server"]


UNREADABLE = [
    (b"target: [edge", "answers.yml, line 1: not YAML, expected ',' or ']'"),
    (b"target: edge\n\tci: none", "answers.yml, line 2: not YAML, "),
    (b"a: !!python/object:os.system x", "answers.yml, line 1: not YAML, could not determine"),
    (b"- target\n- edge", "answers.yml: got ['target', 'edge']; write one `question: answer` a l"),
    (b"target edge", "answers.yml: got 'target edge'; write one `question: answer` a line"),
    (b"# nothing yet\n", "answers.yml: got nothing; write one `question: answer` a line"),
    (b"!!set {target, ci}", "answers.yml: got {'"),
    (b"target: edge\n---\nci: none\n", "answers.yml, line 2: not YAML, but found another document"),
    (b"target: \xff\xfe", "answers.yml: not YAML, 'utf-8' codec can't decode byte 0xff"),
    (b"target: a\x00b", "answers.yml: not YAML, unacceptable character"),
    (b"ci: 2026-99-99", "answers.yml: not YAML, month must be in 1..12"),
    (b"[" * 5000, "answers.yml: not YAML, maximum recursion depth exceeded"),
]


@pytest.mark.parametrize(("text", "words"), UNREADABLE, ids=lambda text: repr(text)[:24])
def test_a_file_that_is_no_mapping_is_refused(text: bytes, words: str, place: Path) -> None:
    answers = answered(place, text)
    process = new_in_process("--answers", answers, "--template", ROOT, place / "mine")
    assert words in refused(process, place)
    assert process.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_refused(template: Path, place: Path) -> None:
    missing = new("--answers", "gone.yml", "--template", template, place / "mine")
    assert refused(missing, place) == (
        "gone.yml: No such file or directory; name a file of answers\n"
    )
    folder = new("--answers", place, "--template", template, place / "mine")
    assert "Is a directory" in refused(folder, place)


# Destinations that are refused


def test_a_folder_with_something_in_it_is_refused(template: Path, place: Path) -> None:
    full = place.parent / "full"
    full.mkdir()
    (full / "work.txt").write_text("mine")
    (place.parent / "full-2").mkdir()
    process = new_in_process("--defaults", "--template", template, full)
    assert refused(process, place) == (
        f"{full} is not empty; choose another folder, like {full}-3\n"
    )
    assert (full / "work.txt").read_text() == "mine"


def test_a_file_in_the_way_is_refused(template: Path, place: Path) -> None:
    file = place.parent / "file"
    file.write_text("mine")
    process = new_in_process("--defaults", "--template", template, file)
    assert refused(process, place) == f"{file} is a file; choose another folder, like {file}-2\n"
    assert file.read_text() == "mine"


def test_a_missing_parent_is_refused(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, place / "a/b")
    assert refused(process, place) == (
        f"{place}/a does not exist; create it first: mkdir -p {place}/a\n"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder root cannot write to")
def test_a_folder_that_cannot_be_written_to_is_refused(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, "/proc/mine")
    assert refused(process, place).startswith("/proc cannot be written to; ")


def test_a_name_no_file_system_takes_is_refused(template: Path, place: Path) -> None:
    process = new_in_process("--defaults", "--template", template, place / ("x" * 300))
    assert "File name too long" in refused(process, place)


def test_a_link_that_leads_nowhere_is_refused(template: Path, place: Path) -> None:
    loop = place.parent / "loop"
    loop.symlink_to(loop)
    process = new_in_process("--defaults", "--template", template, loop)
    assert refused(process, place) == f"{loop} cannot be written to; Not a directory\n"


def test_an_empty_folder_is_filled_and_stays_the_same_folder(template: Path, place: Path) -> None:
    place.chmod(0o750)
    before = place.stat()
    link = place.parent / "link"
    link.symlink_to(place)
    assert new("--defaults", "--template", "../template", ".", cwd=link).returncode == 0
    # A relative template is recorded so that it holds from anywhere.
    assert f"_src_path: {template}\n" in (place / ".copier-answers.yml").read_text()
    after = place.stat()
    assert link.is_symlink()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    names = {path.name for path in place.iterdir()}
    assert names == {".copier-answers.yml", "README.md", "run.sh", "src"}


# Templates and tools that are refused


def test_what_is_no_template_is_refused(place: Path) -> None:
    for source in (place, place / "gone", "https://example.org/owner/name"):
        process = new_in_process("--defaults", "--template", source, place / "mine")
        assert refused(process, place) == (
            f"{source} is no template; name a folder with a copier.yml, or a git address "
            "that ends in .git, like https://github.com/poc2prod/poc2prod.git\n"
        )


def test_a_git_address_that_leads_nowhere_is_refused(place: Path) -> None:
    process = new_in_process("--defaults", "--template", f"file://{place}/gone.git", place / "mine")
    assert "gone.git cannot be read; fatal: " in refused(process, place)
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
    ("_envops: {colour: red}\nname: {type: int, default: 1}", "copier.yml: _envops is wrong; "),
]


@pytest.mark.parametrize(("text", "words"), BROKEN_QUESTIONS, ids=lambda text: text[:24])
def test_questions_that_make_no_sense_are_refused(
    text: str, words: str, tmp_path: Path, place: Path
) -> None:
    (tmp_path / "copier.yml").write_text(text)
    process = new_in_process("--defaults", "--template", tmp_path, place / "mine")
    assert words in refused(process, place)
    assert process.stderr.count("\n") == 1


def test_a_template_that_breaks_half_way_leaves_nothing(template: Path, place: Path) -> None:
    (template / "template/z.txt.jinja").write_text("{{= no_such_answer }}")
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message=broken")
    process = new("--defaults", "--template", template, place)
    assert refused(process, place) == (
        f"{template} cannot be rendered; 'no_such_answer' is undefined\n"
    )


def test_a_template_without_a_commit_is_warned_about(tmp_path: Path, place: Path) -> None:
    (tmp_path / "copier.yml").write_text("size: {type: int, default: 1}\n")
    git(tmp_path, "init", "--quiet")
    process = new_in_process("--defaults", "--template", tmp_path, place / "mine")
    assert process.returncode == 0
    assert f"warning: {tmp_path} has changes that are not committed" in process.stderr


def test_without_git_it_is_refused(
    template: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(place))
    process = new("--defaults", "--template", template, place / "mine")
    assert refused(process, place) == (
        "git is needed so that `copier update` can work later: apt install git\n"
    )


# Being stopped


@pytest.fixture
def slow_template(template: Path) -> Path:
    """A template in which one file of many takes seconds to render."""
    for number in range(5):
        (template / f"template/a{number}.txt").write_text("quick")
    slow = "{%- for a in range(3000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}"
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
def test_stopped_while_rendering_it_leaves_nothing(
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


def test_the_version() -> None:
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


def test_on_a_terminal_with_a_template_from_the_environment(
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
