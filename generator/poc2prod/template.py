"""Where the template comes from: a checkout on this machine, or a git repository."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .git import Repository
from .refusal import Refusal
from .terminal import plain

HOME = "https://github.com/poc2prod/poc2prod.git"
SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/", "git+": ""}  # Copier's


@dataclass(frozen=True)
class Template:
    """A template that can be read now and found again by `copier update`."""

    source: str
    root: Path
    ref: str


def default_source() -> str:
    """Name the source to use when the user names none: this checkout, or the public one."""
    checkout = Path(__file__).resolve().parents[2]
    here = str(checkout) if (checkout / "copier.yml").is_file() else HOME
    return os.environ.get("POC2PROD_TEMPLATE") or here


@contextmanager
def opened(source: str) -> Iterator[Template]:
    """Make a template readable. Raises Refusal when the source is none."""
    path = Path(source).expanduser()
    if path.exists():
        source = str(path.resolve())  # recorded in the project, so it must hold from anywhere
    if (path / "copier.yml").is_file():
        yield Template(source, Path(source), "HEAD")
    elif source.endswith((".git", ".bundle")):
        with TemporaryDirectory(prefix="poc2prod-") as folder:
            yield _cloned(source, Path(folder) / "template")
    else:
        raise Refusal(
            f"{source} is no template; name a folder with a copier.yml, "
            f"or a git address that ends in .git, like {HOME}"
        )


def cloned(source: str, project: Path, place: Path, may_ask: bool = False) -> Repository:
    """Clone all of the template that a project records, without checking out anything.

    With `may_ask`, git may ask for a password. Raises Refusal.
    """
    address = os.path.expanduser(source)  # noqa: PTH111, because it may be no path
    for prefix, stands_for in SHORTCUTS.items():
        address = address.replace(prefix, stands_for, 1) if address.startswith(prefix) else address
    # From within the project, as Copier does: a recorded source may be relative to it.
    inside = Repository(project).using(GIT_TERMINAL_PROMPT=str(int(may_ask)))
    clone = ("clone", "--quiet", "--no-checkout", "--template=", "--origin=origin")
    try:
        inside(*clone, "--", address, str(place))
    except Refusal as error:
        raise Refusal(f"{plain(source)} cannot be read, {error}") from None
    return Repository(place)


def releases_of(template: Repository, *which: str) -> list[str]:
    """Return the tags that are releases, oldest first; of `which`, as `git tag` understands it."""
    return sorted(filter(numbers, template("tag", *which).split()), key=numbers)


def numbers(version: str) -> list[int]:
    """Return what versions are sorted by; nothing for what is no release.

    Digits alone are none: one commit in thirty has a short hash like 3451750.
    """
    release = re.sub(r"-\d+-g[0-9a-f]+$", "", version)  # `git describe` counts on from one
    found = re.fullmatch(r"v?((?<=v)\d+|\d+(?:\.\d+)+)", release)
    return [*map(int, found[1].split("."))] if found else []


def _cloned(source: str, root: Path) -> Template:
    ref = _latest_release(source)
    at_release = [] if ref == "HEAD" else ["--branch", ref]
    _git(source, "clone", "--quiet", "--depth=1", *at_release, "--", source, str(root))
    if not (root / "copier.yml").is_file():
        raise Refusal(f"{source} is no template; it has no copier.yml at {ref}")
    return Template(source, root, ref)


def _latest_release(source: str) -> str:
    tags = re.findall(r"refs/tags/(\S+)", _git(source, "ls-remote", "--tags", "--", source))
    return max(filter(numbers, tags), key=numbers, default="HEAD")


def _git(source: str, *arguments: str) -> str:
    process = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["git failed"])[0]
        raise Refusal(f"{source} cannot be read; {reason}")
    return process.stdout
