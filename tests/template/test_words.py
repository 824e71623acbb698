"""Frequent habits of translated English, and plain replacements. See CONTRIBUTING.md."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

RATE = r"(?:second|minute|hour|day|month|year)"
HABITS = {
    r"\b(?:whoever|whomever|nobody|somebody|anybody)\b": "name the person, or use the passive",
    r"\banew\b": "again",
    r"\bfor ever\b": "forever, without end",
    r"\bin vain\b": "say what happens instead",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bdear(?:er|est)?\b": "expensive",
    r"\b(?:thereby|whereby|hereby|thereof)\b": "two sentences",
    r"\b(?:engine room|way back|last words)\b": "operations, rollback, log",
    r"\b(?:on duty|cry wolf)\b": "on call, false alarm",
    r"\b(?:comes? true|goes red|goes without|waits? for you|stands? beside)\b": "the plain verb",
    r"\bby (?:itself|themselves)\b": "automatically, alone, on its own",
    r"\banswers? otherwise\b": "disagrees",
    r"\b(?:the|this|that|whole|same) road\b": "the pipeline",
    r"\b(?:hold|holds|held) (?:[\w'`]+ ){1,5}against\b": "compare, validate",
    r"\bof (?:one's|yours|ours|theirs|his|hers)\b(?: own)?": "your own",
    rf"\b(?:\d[\d,]*(?:\.\d+)?|USD|MB|bytes|requests?|predictions?|times|often) a {RATE}\b": "per",
    r"\b(?:one|a) (?:line|row|file|folder|test|process|thread|gate|label|example) a \w+": "per",
    r"\b(?:it|that|this|which) is no (?!longer\b|more\b|different\b)\w+": "is not a",
    r"(?:^|[.:#*] )What (?:is|was|are|came|comes|has|had|may|must|cannot|lands|waits|shows)\b"
    r"(?![^.]*\?)(?=[^.]*\b(?:is|are|stays|gets|goes|lands|waits)\b)": "start with the subject",
    r"(?:^|[.:#*] )Who(?:m)? (?:is|was|has|may|must|would|asks|waits)\b(?![^.]*\?)": "name them",
}
SKIPPED = {"LICENSE", "test_words.py"}


def readable(folder: Path) -> Iterator[Path]:
    """Every text file of this repo that people read."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        path = folder / name
        binary = path.suffix in {".gz", ".png", ".svg", ".jpg", ".onnx"}
        others = path.name in SKIPPED or name.startswith("includes/licenses/")
        if name and path.is_file() and not binary and not others:
            yield path


def habits(text: str) -> Iterator[tuple[int, str, str]]:
    """The line, the words and the advice of each habit in a text."""
    for pattern, advice in HABITS.items():
        for match in re.finditer(pattern, text, re.MULTILINE | re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, match[0], advice


@pytest.mark.parametrize(
    "words",
    [
        "Whoever reaches it may look.",
        "It prints one line a gate.",
        "Hold the data against its contract.",
        "At most 200 USD a month.",
        "The model is judged anew.",
        "It is no failure.",
        "What is unfit is not used.",
        "A table of yours.",
    ],
)
def test_a_habit_is_found(words: str) -> None:
    assert list(habits(words))


@pytest.mark.parametrize(
    "words",
    [
        "What is the limit?",
        "It is no longer used.",
        "There is no model.",
        "At most 200 USD per month.",
        "What is measured here: latency and throughput.",
    ],
)
def test_plain_english_is_left_alone(words: str) -> None:
    assert not list(habits(words))


def test_no_file_has_one_of_these_habits() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words!r} ({advice})"
        for path in readable(ROOT)
        for line, words, advice in habits(path.read_text())
    ]
    assert found == []
