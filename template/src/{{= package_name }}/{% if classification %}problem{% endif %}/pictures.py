"""Pictures of the quality of labels, for the report."""

from typing import Any

from .picture import Picture

WIDE_FROM = 13  # labels


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
