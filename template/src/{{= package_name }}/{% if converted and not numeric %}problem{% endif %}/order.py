"""The order of labels in a model from elsewhere."""

from ..refusal import Refusal
from .answer import Head


def find_order(names: list[str], head: Head, field: str) -> list[int]:
    """Return for each label of the project its place in the model.

    Raises:
        Refusal: the labels are unknown, or others than those of the project; it names `field`.
    """
    example = head.labels[::-1]
    if not names:
        rule = f"the labels in the order of the model's outputs; schema.yaml has {head.labels}"
        raise Refusal(field, names, rule, example)
    if sorted(names) != sorted(head.labels):
        lacking, unknown = set(head.labels) - set(names), set(names) - set(head.labels)
        rule = "each label of schema.yaml once"
        rule += f", but {sorted(lacking)} are missing" if lacking else ""
        rule += f", and the data has no {sorted(unknown)}" if unknown else ""
        raise Refusal(field, names, rule, example)
    return [names.index(label) for label in head.labels]
