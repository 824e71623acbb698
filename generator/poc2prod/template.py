"""Finds and reads a template: a checkout on this machine, or a git repository."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .git import Repository
from .output import plain
from .refusal import Refusal

HOME = "https://github.com/poc2prod/poc2prod.git"
SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/", "git+": ""}  # Copier's


@dataclass(frozen=True)
class Template:
    """A template that can be read now and found again by `copier update`."""

    source: str
    root: Path
    ref: str


def default_source() -> str:
    """Return the template to use if the user names none: this checkout, or the public one."""
    checkout = Path(__file__).resolve().parents[2]
    here = str(checkout) if (checkout / "copier.yml").is_file() else HOME
    return os.environ.get("POC2PROD_TEMPLATE") or here


@contextmanager
def open_template(source: str) -> Iterator[Template]:
    """Make a template readable. Raises Refusal when the source is none."""
    path = Path(source).expanduser()
    if path.exists():
        source = str(path.resolve())  # recorded in the project, so it must hold from anywhere
    if (path / "copier.yml").is_file():
        yield Template(source, Path(source), "HEAD")
    elif source.endswith((".git", ".bundle")):
        with TemporaryDirectory(prefix="poc2prod-") as folder:
            repository = clone(source, Path(folder) / "template", may_ask=True)
            releases = list_releases(repository)
            ref = releases[-1] if releases else "HEAD"
            if not check_out(repository, ref):
                raise Refusal(f"{source} is no template; it has no copier.yml at {ref}")
            yield Template(source, repository.folder, ref)
    else:
        raise Refusal(
            f"{source} is no template; name a folder with a copier.yml, "
            f"or a git address that ends in .git, like {HOME}"
        )


def clone(source: str, place: Path, project: Path = Path(), *, may_ask: bool = False) -> Repository:
    """Clone all of a template, without checking out anything.

    A relative source starts from the project, as in Copier. With `may_ask`, git may ask for a
    password. Raises Refusal.
    """
    address = os.path.expanduser(source)  # noqa: PTH111, because it may be no path
    for prefix, stands_for in SHORTCUTS.items():
        address = address.replace(prefix, stands_for, 1) if address.startswith(prefix) else address
    inside = Repository(project).with_variables(GIT_TERMINAL_PROMPT=str(int(may_ask)))
    command = ("clone", "--quiet", "--no-checkout", "--template=", "--origin=origin")
    try:
        inside(*command, "--", address, str(place))
    except Refusal as error:
        raise Refusal(f"{plain(source)} cannot be read; {error}") from None
    return Repository(place)


def check_out(template: Repository, version: str) -> bool:
    """Check out a version, and return whether it is one of a template."""
    if commit := template.find_commit(version):
        template("checkout", "--quiet", "--detach", commit)
    return (template.folder / "copier.yml").is_file()


def list_releases(template: Repository, *which: str) -> list[str]:
    """Return the tags that are releases, oldest first; of `which`, as `git tag` understands it."""
    return sorted(filter(version_key, template("tag", *which).split()), key=version_key)


def version_key(version: str) -> list[int]:
    """Return the sort key of a release; an empty list for other versions.

    Digits alone are not a release: one commit in thirty has a short hash like 3451750.
    """
    release = re.sub(r"-\d+-g[0-9a-f]+$", "", version)  # `git describe` counts on from one
    found = re.fullmatch(r"v?((?<=v)\d+|\d+(?:\.\d+)+)", release)
    return [*map(int, found[1].split("."))] if found else []
