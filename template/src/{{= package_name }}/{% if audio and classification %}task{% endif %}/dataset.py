"""Read labelled WAV files, one folder per label.

`stop/17.wav` has the label `stop`. `stop/noisy/17.wav` is also in the slice `noisy`: a group with
its own quality gate.
"""

from collections.abc import Iterator
from pathlib import Path

from ..examples import Example, labelled_files
from ..schema import Schema

SUFFIXES = {".wav"}


def load_examples(source: Path) -> Iterator[Example]:
    """Yield all labelled clips in the folder."""
    return labelled_files(source, SUFFIXES)


def infer_schema(source: Path) -> Schema:
    """Use the folder names as labels."""
    labels = sorted({example.label for example in labelled_files(source, SUFFIXES)})
    return Schema.model_construct(source=str(source), labels=labels)
