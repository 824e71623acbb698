"""An error about bad input that tells the sender how to fix it."""

from collections.abc import Mapping

from pydantic import ValidationError

SHOWN = 80  # characters of a value: a client may send a very long one


class Refusal(ValueError):
    """One field of an input that breaks a rule, and an example of a right one."""

    def __init__(self, field: str, value: object, rule: str, example: object) -> None:
        found = repr(value)[:SHOWN]
        super().__init__(f"{field}: got {found}; {rule}, for example {example!r}")
        self.detail = {"field": field, "value": found, "rule": rule, "example": repr(example)}

    @classmethod
    def from_validation(cls, error: ValidationError, example: Mapping[str, object]) -> "Refusal":
        """Name the first field that breaks a pydantic model."""
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "json"
        # Without an example of its own, as for an unknown field: the example of a whole input.
        shown = example.get(field, dict(example))
        return cls(field, first["input"], first["msg"].lower(), shown)
