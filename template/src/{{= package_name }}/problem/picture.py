"""A picture of the quality of answers, for the report."""

from typing import NamedTuple

from matplotlib.figure import Figure


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
