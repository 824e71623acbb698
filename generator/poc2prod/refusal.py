"""The error for everything that the user can fix."""


class Refusal(Exception):
    """One or more problems with what the user asked for, each in one line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
