"""So that `python -m poc2prod` works too."""

from .cli import app

app(prog_name="poc2prod")
