"""Print text from files and other programs without control characters or passwords."""

from rich.console import Console

from .questions import SECRET


def plain(text: str) -> str:
    """Remove control characters and passwords from text."""
    return "".join(c if c.isprintable() else "?" for c in SECRET.sub("://***@", text))


def say(console: Console, *lines: str) -> None:
    """Print lines without wrapping, markup, colours or emoji codes."""
    for line in lines:
        console.print(plain(line), soft_wrap=True, markup=False, highlight=False, emoji=False)
