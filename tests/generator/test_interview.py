"""The scoping interview: keys on a pseudo-terminal, lines through a pipe."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from conftest import QUESTIONS, ROOT
from poc2prod.cli import app
from poc2prod.estimate import Estimator
from poc2prod.explain import explain_question

BACK, STOP, END, F1, CLEAR, DOWN = "\x02", "\x03", "\x04", "\x1bOP", "\x15", "\x1b[B"
RIGHT, DELETE = "\x1b[C", "\x1b[3~"
NAME = "scratch-detector"  # of the folder, so of the project
ASKED = [
    "project_name",
    "modality",
    "problem",
    "framework",
    "metric",
    "min_metric",
    "max_latency_p95_ms",
    "peak_requests_per_s",
    "target",
    "max_cost_usd_month",
]
WITH_DEVICES = [*ASKED[:9], "max_model_mb", *ASKED[9:]]
DEFAULTS, _ = QUESTIONS.settle({})


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of bytecode for all processes of this module."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def place(tmp_path: Path, bytecode: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, without environment variables of this machine."""
    folder = tmp_path / "place"
    folder.mkdir()
    unwanted = ("POC2PROD_TEMPLATE", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")
    for name in (*unwanted, "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(bytecode))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return folder


class Terminal:
    """A command on a pseudo-terminal, and its screen."""

    def __init__(self, command: list[str], columns: int, rows: int) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            dimensions=(rows, columns),
            env=dict(os.environ),  # without it, the child inherits COLUMNS from readline
        )
        self.child.delaybeforesend = None
        self.screen.write_process_input = self.keys = self.child.send
        self.is_over = False
        self.text = ""

    def until(self, is_right: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not is_right():
            assert not self.is_over, self.text
            self._read(deadline)

    def _read(self, deadline: float) -> None:
        try:
            left_s = max(0, deadline - time.monotonic())
            self.stream.feed(self.child.read_nonblocking(65536, timeout=left_s))
        except pexpect.EOF:
            self.is_over = True
        except pexpect.TIMEOUT:
            pytest.fail(self.text)
        self.text = "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def sees(self, words: str) -> None:
        self.until(lambda: words in self.text)

    def asks(self, name: str, asked: list[str] = ASKED) -> None:
        """Wait for the prompt of this question."""
        position = f"({asked.index(name) + 1}/{len(asked)})"
        self.until(lambda: re.findall(r"\(\d+/\d+\)", self.text)[-1:] == [position])
        self.sees("Ctrl-B back")

    def answers(self, **answers: str) -> None:
        for name, keys in answers.items():
            self.asks(name)
            self.keys(f"{keys}\r")

    def ends(self) -> int | None:
        """Read to the end and return the exit code; the terminal must be restored."""
        self.until(lambda: self.is_over)
        assert "Traceback" not in self.text
        assert self.child.getecho()
        return self.child.wait()


Open = Callable[..., Terminal]


@pytest.fixture
def new(source: Path, place: Path) -> Iterator[Open]:
    """Start an interview on a terminal; stop it at the end of the test."""
    running = []

    def opened(columns: int = 100, rows: int = 30, name: str = NAME) -> Terminal:
        start = [sys.executable, "-m", "poc2prod", *command(source, place, name=name)]
        terminal = Terminal(start, columns, rows)
        running.append(terminal)
        return terminal

    yield opened
    for terminal in running:
        terminal.child.close(force=True)


def command(source: Path, place: Path, *more: str, name: str = NAME) -> list[str]:
    return ["new", "--no-setup", "--template", str(source), *more, str(place / name)]


def lines(source: Path, place: Path, *answers: str, more: tuple[str, ...] = ()) -> Result:
    """Run the interview through a pipe, in this process."""
    text = "".join(f"{answer}\n" for answer in answers)
    return CliRunner().invoke(app, command(source, place, *more), text, {"COLUMNS": "100"})


def written(place: Path) -> dict[str, Any]:
    """Return the answers of the new project; there must be nothing else in the folder."""
    assert [path.name for path in place.iterdir()] == [NAME]
    recorded = yaml.safe_load((place / NAME / ".copier-answers.yml").read_text())
    return {name: value for name, value in recorded.items() if name in ASKED}


def saved(place: Path) -> dict[str, Any]:
    """Return the answers of an interrupted interview; there must be nothing else in the folder."""
    assert [path.name for path in place.iterdir()] == [f"{NAME}.answers.yml"]
    answers = yaml.safe_load((place / f"{NAME}.answers.yml").read_text())
    assert list(answers) == [name for name in ASKED if name in answers]
    return answers


def estimate(**answers: Any) -> str:
    return Estimator(QUESTIONS, answers).line()


def defaults(**but: Any) -> dict[str, Any]:
    """Return the ten default answers, with these changes."""
    settled, problems = QUESTIONS.settle(but)
    assert problems == []
    return {name: settled[name] for name in ASKED}


# On a terminal


def test_enter_accepts_every_default(new: Open, place: Path) -> None:
    terminal = new(rows=60)
    terminal.answers(**dict.fromkeys(ASKED, ""))
    terminal.sees("Write it?")
    assert re.search(r"max_latency_p95_ms +<= 50 +slower fails", terminal.text)
    assert re.search(r"min_metric +>= 0\.9 +", terminal.text)
    assert re.search(r"peak_requests_per_s +20 +sets servers", terminal.text)
    assert f"Estimate: {estimate()}" in terminal.text
    assert "Measured " in terminal.text
    assert list(place.iterdir()) == []
    terminal.keys("\r")
    assert terminal.ends() == 0
    assert "scratch-detector is ready" in terminal.text
    assert written(place) == defaults()


def test_a_default_is_computed_again_after_an_earlier_answer_changes(
    new: Open, place: Path
) -> None:
    ms = Estimator(QUESTIONS, {}).rules.least_ms("device")
    terminal = new()
    terminal.answers(**dict.fromkeys(ASKED[:9], ""))
    for name in reversed(ASKED[7:10]):
        terminal.asks(name)
        terminal.keys(BACK)
    terminal.answers(max_latency_p95_ms=f"{CLEAR}{ms}")
    terminal.sees("The default of target is now edge, was cloud")
    terminal.asks("peak_requests_per_s", WITH_DEVICES)
    terminal.keys("\r")
    terminal.asks("target", WITH_DEVICES)
    terminal.sees(" » On a device")
    assert re.search(r"- On a server.* \(a server needs .* ms or more: edge\)", terminal.text)
    terminal.keys(f"{DOWN}\r")  # to the next possible target, which is the same
    terminal.asks("max_model_mb", WITH_DEVICES)
    terminal.keys(STOP)
    assert terminal.ends() == 130
    changed = defaults(max_latency_p95_ms=float(ms))
    assert saved(place) == {name: changed[name] for name in ASKED[:9]}


def test_back_on_the_first_question_stays_there(new: Open, place: Path) -> None:
    terminal = new()
    terminal.asks("project_name")
    terminal.keys("not-this")
    terminal.sees("not-this")
    terminal.keys(BACK)
    terminal.until(lambda: "not-this" not in terminal.text)
    terminal.answers(project_name="a-b-c")
    terminal.asks("modality")
    terminal.keys(BACK)
    terminal.answers(project_name=f"{RIGHT}-d")  # an arrow key edits the old answer
    terminal.asks("modality")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    assert "Saved 1 answer in" in terminal.text
    assert saved(place) == {"project_name": "a-b-c-d"}


@pytest.mark.parametrize(
    "keys",
    ["300", f"{DELETE}300", "\x7f300", "\x1b[200~300\x1b[201~"],
    ids=["typed", "delete", "backspace", "pasted"],
)
def test_typing_replaces_the_old_answer(keys: str, new: Open, place: Path) -> None:
    terminal = new()
    terminal.answers(**dict.fromkeys(ASKED[:6], ""), max_latency_p95_ms="200")
    terminal.asks("peak_requests_per_s")
    terminal.keys(BACK)
    terminal.answers(max_latency_p95_ms=keys)
    terminal.asks("peak_requests_per_s")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    assert saved(place)["max_latency_p95_ms"] == 300


UNITS = {
    "max_latency_p95_ms": ("200 ms", 200),
    "peak_requests_per_s": ("1,000 per second", 1000),
    "max_cost_usd_month": ("$300", 300),
}


def test_a_number_may_have_its_unit(new: Open, place: Path) -> None:
    terminal = new()
    terminal.answers(
        project_name="", modality="", problem="", framework="", metric="", min_metric="0,95"
    )
    terminal.answers(max_latency_p95_ms="200 ms")
    terminal.asks("peak_requests_per_s")
    assert "  0.95\n" in terminal.text and "  200\n" in terminal.text
    terminal.keys("1,000 per second")
    terminal.sees("\n = 1000\n")  # the number that was understood
    terminal.keys("\r")
    terminal.answers(target="", max_cost_usd_month="$300")
    terminal.sees("Write it?")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    numbers = {name: number for name, (_, number) in UNITS.items()} | {"min_metric": 0.95}
    assert {name: saved(place)[name] for name in numbers} == numbers


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("0.2 s", "a number in ms; write 200"),
        ("200 MB", "a number in ms, like 50.0"),
        ("fast", "a number in ms, like 50.0"),
    ],
)
def test_another_unit_is_explained(answer: str, rule: str, source: Path, place: Path) -> None:
    result = lines(source, place, *[""] * 6, answer)
    assert result.exit_code == 1 and f"\n{rule}\n" in result.stdout


def test_an_implausible_answer_is_questioned(new: Open, place: Path) -> None:
    usd = Estimator(QUESTIONS, {}).of("cloud").cost_usd_month
    terminal = new()
    terminal.answers(**dict.fromkeys(ASKED[:9], ""))
    terminal.asks("max_cost_usd_month")
    terminal.keys("200300\r")
    question = (
        f"200300 USD per month is {200300 / usd:,.0f} times the estimate ({usd:.0f} USD). Keep"
    )
    terminal.sees(question)
    terminal.keys("\r")  # no; the answer is still selected, so typing replaces it
    terminal.until(lambda: terminal.text.count("(10/10)") == 2)
    terminal.keys("300\r")
    terminal.sees("Write it?")
    terminal.keys("n")
    terminal.answers(max_cost_usd_month="200300")
    terminal.sees(question)
    terminal.keys("y")
    terminal.sees("Write it?")
    terminal.keys("n")
    terminal.answers(max_cost_usd_month="")  # kept once, it is not questioned again
    terminal.sees("Write it?")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    assert saved(place)["max_cost_usd_month"] == 200300


def test_through_a_pipe_an_implausible_answer_is_pointed_out(source: Path, place: Path) -> None:
    answers = [*[""] * 6, "20000", "", "hybrid", "5000", "200300", "y"]
    process = lines(source, place, *answers)
    assert process.exit_code == 0
    assert "20000 ms is 20 s for one prediction. Type < to change it." in process.stdout
    assert "5000 MB is 5 GB for one model file." in process.stdout
    assert re.search(r"200300 USD per month is \d,\d+ times the estimate", process.stdout)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("leaf-watch", "leaf-watch"), ("Leaf_Watch 2", "leaf-watch-2"), ("json", NAME), ("x", NAME)],
)
def test_the_folder_suggests_the_name(folder: str, name: str, source: Path, place: Path) -> None:
    text = "\n" * 11
    result = CliRunner().invoke(app, command(source, place, name=folder), text)
    assert result.exit_code == 0
    assert f"\n[{name}]\n" in result.stdout
    recorded = yaml.safe_load((place / folder / ".copier-answers.yml").read_text())
    assert recorded["project_name"] == name


def test_the_summary_fits_a_small_terminal(new: Open) -> None:
    terminal = new(columns=80, rows=24)
    terminal.answers(**dict.fromkeys(ASKED, ""))
    terminal.sees("Write it?")
    known = filter(lambda name: QUESTIONS.applies(name, DEFAULTS), DEFAULTS)
    limits = [name for name in known if name.startswith(("min_", "max_", "buy_", "peak_"))]
    assert len(limits) == 9
    shown = terminal.text.partition(f"{NAME}, image, classification, pytorch, accuracy, cloud\n")[2]
    assert re.findall(r"^([a-z0-9_]+_[a-z0-9_]+) ", shown, re.MULTILINE) == limits
    assert re.search(r"buy_usd_month +<= 200 \*", shown) or re.search(
        r"buy_usd_month +200 \*", shown
    )
    assert "* default, not asked in the quick interview" in shown
    assert "Estimate: " in shown and "At the size limit: " in shown


def test_help_keeps_the_typed_or_chosen_answer(new: Open, source: Path) -> None:
    terminal = new(columns=200)
    terminal.answers(project_name="")
    terminal.asks("modality")
    terminal.keys(DOWN)
    terminal.sees(" » A sound clip")
    assert "F1 help" in terminal.text
    terminal.keys(F1)
    terminal.sees(last_words(source, "modality"))
    terminal.sees(" » A sound clip")
    terminal.keys("?\r")
    terminal.answers(problem="", framework="", metric="")
    terminal.asks("min_metric")
    assert "F1 help" in terminal.text
    terminal.keys("0.7")
    terminal.keys(F1)
    terminal.sees(last_words(source, "min_metric"))
    terminal.keys("5\r")
    terminal.asks("max_latency_p95_ms")
    assert "  0.75\n" in terminal.text


def last_words(source: Path, name: str) -> str:
    return explain_question(source, QUESTIONS, name).splitlines()[-1].replace("`", "")


WRONG = {
    "1.4": "0.01 to 0.999, like 0.9",
    "1e400": "a number, like 0.9",
    "nan": "a number, like 0.9",
    "0,9 or so": "a number, like 0.9",
    "!!bool x": "a number, like 0.9",
    f"\x1b[200~{'[' * 1_000}\x1b[201~": "a number, like 0.9",
    f"\x1b[200~{'9' * 10_000}\x1b[201~": "a number, like 0.9",
    "\x1b[200~9\n\0\x1b]0;😀\x1b[201~": "a number, like 0.9",
}


def test_an_invalid_answer_shows_the_rule(new: Open, place: Path) -> None:
    terminal = new()
    terminal.answers(project_name="", modality="", problem="", framework="", metric="")
    terminal.asks("min_metric")
    for typed, rule in WRONG.items():
        terminal.keys(typed)
        terminal.sees(rule)
        terminal.keys(f"\r{CLEAR}\x7f{CLEAR}")
        terminal.sees(estimate())
    terminal.answers(min_metric="0.5")
    terminal.asks("max_latency_p95_ms")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    assert saved(place)["min_metric"] == 0.5


def test_the_estimate_is_updated_with_every_key(new: Open) -> None:
    terminal = new()
    terminal.answers(project_name="")
    terminal.asks("modality")
    for _, modality in QUESTIONS.choices("modality", {}):
        terminal.sees(estimate(modality=modality))
        terminal.keys(DOWN)
    terminal.answers(**dict.fromkeys(ASKED[1:7], ""))
    terminal.asks("peak_requests_per_s")
    terminal.sees(estimate())
    for typed in ("5", "54", "543", "5432", "54321"):
        terminal.keys(typed[-1])
        terminal.sees(estimate(peak_requests_per_s=float(typed)))


# Interrupted and resumed


def test_after_ctrl_c_it_resumes(new: Open, place: Path) -> None:
    terminal = new(columns=200)
    terminal.answers(project_name="a-b-c", modality=DOWN, problem="", framework="", metric="")
    terminal.asks("min_metric")
    terminal.keys("0.7")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    path = place / f"{NAME}.answers.yml"
    assert f"Saved 5 answers in {path}. Run the command again to resume." in terminal.text
    answers = {"project_name": "a-b-c", "modality": "audio", "problem": "classification"}
    answers |= {"framework": "pytorch", "metric": "accuracy"}
    assert saved(place) == answers

    terminal = new(columns=200)
    terminal.asks("min_metric")
    assert f"Resuming from {path}." in terminal.text
    terminal.keys(BACK)
    terminal.answers(metric=DOWN, **dict.fromkeys(ASKED[5:], ""))
    terminal.sees("Write it?")
    terminal.keys(STOP)
    assert terminal.ends() == 130
    answers = defaults(**answers | {"metric": "macro_f1"})
    assert saved(place) == answers

    terminal = new()
    terminal.sees("Write it?")
    terminal.keys("n")
    terminal.answers(max_cost_usd_month="300")
    terminal.until(lambda: terminal.text.endswith("Ctrl-C saves and quits)"))
    terminal.keys("y")
    assert terminal.ends() == 0
    changed = {"max_cost_usd_month": 300.0}
    assert written(place) == answers | changed


def test_sigterm_is_like_ctrl_c(new: Open, place: Path) -> None:
    terminal = new()
    terminal.answers(project_name="", modality="", problem="", framework="", metric="")
    terminal.asks("min_metric")
    terminal.child.kill(signal.SIGTERM)
    assert terminal.ends() == 130
    assert saved(place) == {name: DEFAULTS[name] for name in ASKED[:5]}


def test_invalid_saved_answers_are_dropped_and_asked_again(source: Path, place: Path) -> None:
    (place / f"{NAME}.answers.yml").write_text(
        "ci: none\nci: github\ncolour: red\nmin_metric: 7\nserver: true\n"
        "metric: macro_f1\nmodality: audio\nproblem: classification\nproject_name: a-b-c\n"
    )
    process = lines(source, place)
    for words in (
        f"Resuming from {place}/{NAME}.answers.yml.",
        "Dropped: ci: answered more than once, on lines 1 and 2; keep one",
        "Dropped: colour: got 'red'; no such question",
        "Dropped: min_metric: got 7; 0.01 to 0.999, like 0.9",
        "Dropped: server: got true; derived from other answers; leave it out",
        "(4/10) ",
    ):
        assert re.search(f"^{re.escape(words)}", process.stdout, re.MULTILINE)
    valid = {"project_name": "a-b-c", "modality": "audio", "problem": "classification"}
    valid |= {"metric": "macro_f1"}
    assert saved(place) == valid


@pytest.mark.parametrize("text", ["", "[a", "\x1b", "- a", "a: !!bool x", "[" * 1000])
def test_rejects_a_damaged_answers_file(text: str, source: Path, place: Path) -> None:
    path = place / f"{NAME}.answers.yml"
    path.write_text(text)
    process = lines(source, place)
    assert process.exit_code == 1
    assert process.stderr.startswith(str(path))
    assert process.stderr.count("\n") == 1
    assert path.read_text() == text


# Small and simple terminals


def test_a_narrow_terminal_shows_everything(new: Open) -> None:
    terminal = new(columns=40)
    terminal.asks("project_name")
    assert estimate() in " ".join(terminal.text.split())
    terminal.answers(**dict.fromkeys(ASKED[:8], ""))
    terminal.asks("target")
    before, _ = QUESTIONS.settle({}, until="target")
    for label, _ in QUESTIONS.choices("target", before):
        assert label.replace(" ", "") in "".join(terminal.text.split())
    terminal.answers(**dict.fromkeys(ASKED[8:], ""))
    terminal.sees("Write it?")
    terminal.keys(STOP)
    assert terminal.ends() == 130


def test_a_dumb_terminal_is_asked_line_by_line(
    new: Open, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = new()
    terminal.sees("[scratch-detector]")
    terminal.keys("a-b-c\r")
    terminal.sees("[image]")
    terminal.keys(END)
    assert terminal.ends() == 1
    assert "input ended at question 2 of 10 (modality)" in terminal.text
    assert saved(place) == {"project_name": "a-b-c"}


# Line by line


def test_empty_lines_accept_every_default(source: Path, place: Path) -> None:
    start = [sys.executable, "-m", "poc2prod", *command(source, place)]
    process = subprocess.run(
        start, input="\n" * 11, capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    positions = [f"({number}/10)" for number in range(1, 11)]
    assert re.findall(r"^\(\d+/\d+\)", process.stdout, re.MULTILINE) == positions
    assert (
        "An empty line accepts the value in [brackets]; ? explains, < goes back." in process.stdout
    )
    assert re.search(r"max_latency_p95_ms +<= 50 +slower fails", process.stdout)
    assert "Estimate: " in process.stdout
    assert "\x1b" not in process.stdout
    assert written(place) == defaults()


def test_a_line_is_a_number_a_value_or_a_command(source: Path, place: Path) -> None:
    answers = [
        "a-b-c",
        "2",
        "",
        "",
        "?",
        "1.4",
        "macro_f1",
        "<",
        "3",
        "0.5",
        "\0😀\x1b[",
        "?",
        "30",
    ]
    answers += ["<", "", *[""] * 4, "<", " 300 ", "what", "Y"]
    process = lines(source, place, *answers)
    assert (process.exit_code, process.stderr) == (0, "")
    for name in ("metric", "max_latency_p95_ms"):
        assert last_words(source, name) in " ".join(process.stdout.split())
    for words in (
        "  2 A sound clip (WAV)",
        "[macro_f1]",
        "one of accuracy, macro_f1, macro_recall",
        "a number in ms, like 50",
        "[hybrid]",
        "y, n or <",
    ):
        assert f"\n{words}" in process.stdout
    assert written(place) == defaults(
        project_name="a-b-c",
        modality="audio",
        metric="macro_recall",
        min_metric=0.5,
        max_latency_p95_ms=30.0,
        max_cost_usd_month=300.0,
    )


def test_an_answer_that_becomes_invalid_is_asked_again(source: Path, place: Path) -> None:
    ms = Estimator(QUESTIONS, {}).rules.least_ms("device")
    answers = [*[""] * 8, "3", "<", "<", "<", ms, "", "hybrid", *[""] * 4]
    process = lines(source, place, *answers)
    assert process.exit_code == 0
    assert "Dropped: target: got 'hybrid'; a server needs" in process.stdout
    assert written(place)["target"] == "edge"


def test_the_full_interview_asks_everything(source: Path, place: Path) -> None:
    every = [name for name in QUESTIONS.specs if QUESTIONS.applies(name, DEFAULTS)]
    process = lines(source, place, *[""] * (len(every) + 1), more=("--full",))
    assert (process.exit_code, process.stderr) == (0, "")
    assert f"({len(every)}/{len(every)})" in process.stdout
    assert written(place) == defaults()


def test_answers_are_saved_when_the_input_ends(source: Path, place: Path) -> None:
    process = lines(source, place, "a-b-c", "3", "", "", "")
    assert process.exit_code == 1
    assert process.stderr == (
        "input ended at question 6 of 10 (min_metric); "
        "answer all questions, or use --answers FILE or --defaults\n"
    )
    answers = {"project_name": "a-b-c", "modality": "tabular", "problem": "classification"}
    answers |= {"framework": "pytorch", "metric": "accuracy"}
    assert saved(place) == answers
    file = (place / f"{NAME}.answers.yml").rename(place.parent / "answers.yml")
    process = lines(source, place, more=("--answers", str(file)))
    assert process.exit_code == 0
    assert written(place) == defaults(**answers)


def test_nothing_is_saved_without_an_answer(source: Path, place: Path) -> None:
    assert lines(source, place, "?", "<", "no name").exit_code == 1
    assert list(place.iterdir()) == []


def test_no_stops_and_saves_all_answers(source: Path, place: Path) -> None:
    process = lines(source, place, *[""] * 10, "n")
    assert process.exit_code == 130
    assert "Saved 10 answers in" in process.stdout
    assert saved(place) == defaults()


def test_answers_are_saved_when_rendering_fails(tmp_path: Path, place: Path) -> None:
    template = tmp_path / "broken"
    (template / "template").mkdir(parents=True)
    (template / "copier.yml").write_text(
        "_subdirectory: template\n_templates_suffix: .jinja\n"
        "workers: {type: int, default: 2, choices: [1, 2, 4]}\n"
    )
    text = template / "template/a.jinja"
    text.write_text("{{ broken")
    process = lines(template, place, "4", "")
    assert process.exit_code == 1
    assert "this template has no estimates" in process.stdout
    text.write_text("{{ workers }}")
    assert lines(template, place, "").exit_code == 0
    assert (place / NAME / "a").read_text() == "4"


def test_the_readme_shows_a_real_screen(new: Open) -> None:
    """`POC2PROD_RECORD=1` updates the README."""
    terminal = new(columns=80, rows=23)
    terminal.answers(**dict.fromkeys(ASKED[:7], ""))
    terminal.asks("peak_requests_per_s")
    terminal.keys("20")
    terminal.sees(estimate(peak_requests_per_s=20))
    path = ROOT / "README.md"
    block = re.compile(r"(?<=<!-- screen -->\n```\n).*?(?=\n```\n<!-- /screen -->)", re.DOTALL)
    if os.environ.get("POC2PROD_RECORD"):
        path.write_text(block.sub(lambda _: terminal.text, path.read_text(), count=1))
    assert block.findall(path.read_text()) == [terminal.text]
