"""Read labelled PNG and JPEG files, one folder per label.

`scratched/17.png` has the label `scratched`. `scratched/line-2/17.png` is also in the slice
`line-2`: a group with its own quality gate.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..schema import Schema

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all labelled images in the folder."""
    return labelled_files(source, SUFFIXES)


def infer_schema(source: Path) -> Schema:
    """Use the folder names as labels."""
    labels = sorted({example.label for example in labelled_files(source, SUFFIXES)})
    return Schema.model_construct(source=str(source), labels=labels)
