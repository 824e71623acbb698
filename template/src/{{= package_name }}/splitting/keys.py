"""What decides the split of one example."""

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from typing import Any, Protocol

from ..refusal import Refusal
from .rules import Split


class Keyed(Protocol):
    """The fields of `examples.Example` that can decide its split."""

    @property
    def id(self) -> str: ...

    @property
    def payload(self) -> bytes: ...

    @property
    def group(self) -> str: ...


def key_of(example: Keyed, split: Split) -> str:
    """Return the key of an example: examples with the same key stay together.

    Raises:
        Refusal: the group is missing, or `task/split.py` is.
    """
    if split.by == "id":
        return example.id
    if split.by == "payload":
        return sha256(example.payload).hexdigest()
    if split.by == "function":
        return str(_load_function()(example))
    if not example.group:
        rule = f"a group for every example, unlike {example.id}, from {split.place}"
        rule += "; set `group` in task/dataset.py"
        raise Refusal("group", example.group, rule, "person-7")
    return example.group


def _load_function() -> Callable[[Any], object]:
    try:
        function: Callable[[Any], object] = import_module("..task.split", __package__).split_of
    except (ModuleNotFoundError, AttributeError) as error:
        rule = f"a function `split_of(example)` in task/split.py, for `by: function` ({error})"
        raise Refusal("split", "function", rule, 'def split_of(example): return "train"') from None
    return function
