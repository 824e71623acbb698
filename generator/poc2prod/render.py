"""Renders a template with Copier."""

import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

from .answers import ANSWERS
from .output import plain
from .refusal import Refusal
from .template import Template


def render(
    template: Template, answers: dict[str, Any], folder: Path, inside: Path = Path()
) -> list[str]:
    """Render a version of a template into a folder; return what to warn about.

    `inside` is where a relative source starts from. Raises Refusal.
    """
    # Imported here: it takes most of a second, and many commands end before they render.
    import copier
    from copier.errors import DirtyLocalWarning

    with chdir(inside), warnings.catch_warnings(record=True) as caught:
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
                # Copier would refuse a template with tasks, and nothing here needs them.
                skip_tasks=True,
            )
        except Exception as error:  # templates and git fail in more ways than can be listed
            version = "" if template.ref == "HEAD" else f" at {template.ref[:9]}"
            failed = f"{template.source}{version} cannot be rendered; {reason(error)}"
            raise Refusal(plain(failed)) from error
    uncommitted = (
        f"{template.source} has changes that are not committed: "
        "`copier update` will not find this version again"
    )
    return [uncommitted] if caught else []


def reason(error: BaseException) -> str:
    """Return the last line of an error, where Copier and Jinja give the cause."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].lstrip(" |")
