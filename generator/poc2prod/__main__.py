"""Entry point of `python -m poc2prod`."""

from .cli import app

app(prog_name="poc2prod")
