"""What poc2prod will not do, said so that the user can mend it."""


class Refusal(Exception):
    """One or more problems with what the user asked for, each in one line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
