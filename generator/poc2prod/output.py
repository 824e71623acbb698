"""Print text from files and other programs without control characters or passwords."""

from rich.console import Console
from rich.markdown import Markdown

from .addresses import redact


def plain(text: str) -> str:
    """Remove control characters and passwords from one line of text."""
    return "".join(c if c.isprintable() else "?" for c in redact(text))


def plain_lines(text: str) -> str:
    """Remove control characters, except for line breaks, and passwords from text."""
    return "\n".join(plain(line) for line in text.expandtabs().splitlines())


def markdown(text: str) -> Markdown:
    """Format Markdown that others wrote; links are shown as text."""
    return Markdown(plain_lines(text), hyperlinks=False)


def say(console: Console, *lines: str) -> None:
    """Print lines without wrapping, markup, colours or emoji codes."""
    for line in lines:
        console.print(plain(line), soft_wrap=True, markup=False, highlight=False, emoji=False)
