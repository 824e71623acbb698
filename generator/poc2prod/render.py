"""Render a template with Copier."""

import os
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

from .answers import ANSWERS
from .git_settings import PROTOCOLS, as_variables, safe_variables
from .output import plain
from .refusal import Refusal
from .template import Template

# Files must be the same on every machine, whatever the configuration of its user.
SAME_FILES = {"core.autocrlf": "false", "core.attributesFile": os.devnull, "init.templateDir": ""}


def render(
    template: Template, answers: dict[str, Any], folder: Path, inside: Path = Path()
) -> list[str]:
    """Render a version of a template into a folder; return warnings.

    A relative source is relative to `inside`. Raises Refusal.
    """
    # Imported here: this takes most of a second, and many commands exit before they render.
    import copier
    from copier.errors import DirtyLocalWarning
    from plumbum import local  # by which Copier runs git; it has a copy of the environment

    git = {**os.environ, **PROTOCOLS}
    for place in (template.root, inside):
        git |= safe_variables(place, git)
    git |= as_variables(SAME_FILES, git)
    with (
        local.env(**{name: git[name] for name in git if name.startswith("GIT_")}),
        chdir(inside),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DirtyLocalWarning)
        try:
            copier.run_copy(
                template.source,
                folder,
                answers,
                answers_file=ANSWERS,
                vcs_ref=template.ref,
                defaults=True,
                overwrite=True,
                quiet=True,
                # Copier would refuse a template with tasks; this one needs none.
                skip_tasks=True,
            )
        except Exception as error:  # templates and git raise many kinds of errors
            version = "" if template.ref == "HEAD" else f" at {template.ref[:9]}"
            failed = f"{template.source}{version} cannot be rendered; {reason(error)}"
            raise Refusal(plain(failed)) from error
    uncommitted = (
        f"{template.source} has uncommitted changes: "
        "later updates cannot find this version of the template"
    )
    return [uncommitted] if caught else []


def reason(error: BaseException) -> str:
    """Return the last line of an error, which for Copier and Jinja is the cause."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].lstrip(" |")
