"""Read PNG and JPEG files, and the labels of each from `answers.csv` in the same folder.

`answers.csv` has the columns `file` and `answer`, and optionally `slice`: a group with its own
quality gate. An answer is `dust|scratch`, or `-` if none of the labels is right.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..problem.data import list_labels, normalize
from ..schema import Schema

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all images in the folder that have an answer."""
    return labelled_files(source, SUFFIXES, normalize)


def infer_schema(source: Path) -> Schema:
    """Use the names in the answers as labels."""
    labels = list_labels({example.label for example in load_examples(source)})
    return Schema.model_construct(source=str(source), labels=labels)
