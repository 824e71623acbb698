"""Read WAV files, and the number for each from `answers.csv` in the same folder.

`answers.csv` has the columns `file` and `answer`, and optionally `slice`: a group with its own
quality gate. Without it, the first folder of each path is the answer: `12.5/17.wav` has 12.5.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..schema import Schema

SUFFIXES = {".wav"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all clips in the folder that have an answer."""
    return labelled_files(source, SUFFIXES)


def infer_schema(source: Path) -> Schema:
    """Check that the files can be read; numbers have no labels."""
    for _ in labelled_files(source, SUFFIXES):
        pass
    return Schema.model_construct(source=str(source), labels=[])
