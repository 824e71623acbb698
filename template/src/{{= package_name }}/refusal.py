"""Errors about invalid input, with the violated rule and a valid example."""

from collections.abc import Mapping

from pydantic import ValidationError

SHOWN = 80  # characters of a value: clients may send very long ones


class Refusal(ValueError):
    """An input is invalid: the field, its value, the rule, and a valid example."""

    def __init__(self, field: str, value: object, rule: str, example: object) -> None:
        shown_value = repr(value)[:SHOWN]
        super().__init__(f"{field}: got {shown_value}; {rule}, for example {example!r}")
        self.detail = {"field": field, "value": shown_value, "rule": rule, "example": repr(example)}

    @classmethod
    def from_validation(cls, error: ValidationError, example: Mapping[str, object]) -> "Refusal":
        """Describe the first error of a pydantic model."""
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "json"
        # A field without an example, such as an unknown one: show a whole input.
        shown = example.get(field, dict(example))
        return cls(field, first["input"], first["msg"].lower(), shown)


def check_size(payload_bytes: int, max_bytes: int) -> None:
    """Check the size of a payload, in training data and in requests.

    Raises:
        Refusal: it is too large.
    """
    if payload_bytes > max_bytes:
        size, rule = f"{payload_bytes} bytes or more", f"at most {max_bytes} bytes"
        raise Refusal("payload", size, rule, "a smaller file")
