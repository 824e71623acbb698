"""The error for problems that the user can fix."""


class Refusal(Exception):
    """One or more problems with a command, an answer or a project; one line per problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
