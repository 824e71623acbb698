"""Pictures of the quality of labels, for the report."""

from typing import Any, NamedTuple

from matplotlib.figure import Figure

WIDE_FROM = 13  # labels


class Picture(NamedTuple):
    """A figure, or counts that the report draws as a table, and the words around it."""

    id: str
    title: str
    caption: str
    figure: Figure | None = None
    counts: list[list[int]] | None = None
    names: tuple[list[str], list[str]] = ([], [])  # of rows and columns
    axes: tuple[str, str] = ("", "")  # what columns and rows are
    is_wide: bool = False


def draw(quality: dict[str, Any], colours: dict[str, str]) -> list[Picture]:
    """Return the pictures of `reports/evaluate.json`: the confusion matrix."""
    labels = quality["labels"]
    return [
        Picture(
            "confusion",
            "Confusion matrix",
            "Held-out examples by true and predicted label, for the shipped model.",
            counts=quality["confusion"],
            names=(labels, labels),
            axes=("predicted", "true label"),
            is_wide=len(labels) >= WIDE_FROM,
        )
    ]
