"""Bad input, said so that whoever sent it can mend it."""

from pydantic import ValidationError


class Refusal(ValueError):
    """One field of an input that breaks a rule, and an example of a right one."""

    def __init__(self, field: str, value: object, rule: str, example: object) -> None:
        super().__init__(f"{field}: got {value!r}; {rule}, for example {example!r}")
        self.detail = {"field": field, "value": repr(value), "rule": rule, "example": repr(example)}

    @classmethod
    def from_validation(cls, error: ValidationError, example: object) -> "Refusal":
        """Name the first field that breaks a pydantic model."""
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "payload"
        right = example.get(field, example) if isinstance(example, dict) else example
        return cls(field, first["input"], first["msg"].lower(), right)
