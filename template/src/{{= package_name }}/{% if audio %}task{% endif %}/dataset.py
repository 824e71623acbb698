"""Your files to examples: one folder per label, WAV inside.

`stop/17.wav` has the label `stop`; `stop/noisy/17.wav` is also in the slice `noisy`, a group
whose quality is judged on its own.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..schema import Schema

SUFFIXES = {".wav"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield every labelled clip below the folder."""
    return labelled_files(source, SUFFIXES)


def infer_schema(source: Path) -> Schema:
    """Take the names of the folders as the labels."""
    labels = sorted({example.label for example in labelled_files(source, SUFFIXES)})
    return Schema.model_construct(source=str(source), labels=labels)
