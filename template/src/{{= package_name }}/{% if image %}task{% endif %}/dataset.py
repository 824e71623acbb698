"""Your files to examples: one folder per label, PNG or JPEG inside.

`scratched/17.png` has the label `scratched`; `scratched/line-2/17.png` is also in the slice
`line-2`, a group whose quality is judged on its own.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..schema import Schema

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield every labelled image below the folder."""
    return labelled_files(source, SUFFIXES)


def infer_schema(source: Path) -> Schema:
    """Take the names of the folders as the labels."""
    labels = sorted({example.label for example in labelled_files(source, SUFFIXES)})
    return Schema.model_construct(source=str(source), labels=labels)
