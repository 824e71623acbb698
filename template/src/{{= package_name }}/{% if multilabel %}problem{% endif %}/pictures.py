"""Pictures of the quality of sets of labels, for the report."""

from typing import Any

from matplotlib.figure import Figure

from .picture import Picture

SIZE_IN = (4.2, 3)
WIDE_FROM = 13  # labels


def draw(quality: dict[str, Any], colours: dict[str, str]) -> list[Picture]:
    """Return the pictures of `reports/evaluate.json`."""
    labels = quality["labels"]
    counts = quality["counts"]
    return [
        Picture(
            "labels",
            "Hit, missed and false",
            "Held-out examples by label, for the shipped model: labels that it found, that it"
            " missed, and that it gave by mistake.",
            counts=[[counts[name][kind] for kind in ("hit", "missed", "false")] for name in labels],
            names=(labels, ["hit", "missed", "false"]),
            axes=("", "label"),
            is_wide=len(labels) >= WIDE_FROM,
        ),
        Picture(
            "by_label",
            "Metric by label",
            "The dark bar is the lower bound, the light one the measured value.",
            figure=_draw_labels(quality, colours),
            is_wide=len(labels) >= WIDE_FROM,
        ),
    ]


def _draw_labels(quality: dict[str, Any], colours: dict[str, str]) -> Figure:
    """Draw the value and the lower bound of each label, the weakest one at the top."""
    rows = sorted(quality["by_label"].items(), key=lambda row: -row[1]["lower_bound"])
    names = [name for name, _ in rows]
    height = max(SIZE_IN[1], 0.25 * len(rows))
    figure = Figure(figsize=(SIZE_IN[0], height), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [row["value"] for _, row in rows], color=colours["soft"], alpha=0.5)
    axes.barh(names, [row["lower_bound"] for _, row in rows], color=colours["good"])
    axes.set(xlabel=quality["metric"], xlim=(0, 1))
    return figure
