"""Fill the Jinja templates of this folder; values are escaped in HTML."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def fill(template: str, **values: object) -> str:
    """Return the text of one template.

    Raises:
        UndefinedError: it uses a value that was not given.
    """
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template(template).render(values)
