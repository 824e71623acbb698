"""Find and read a template: a folder on this machine, or a git repository."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .addresses import credentials_apart
from .files import refuse_links_out
from .git import Repository
from .git_settings import PROTOCOLS
from .output import plain
from .refusal import Refusal

HOME = "https://github.com/poc2prod/poc2prod.git"
SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/", "git+": ""}  # Copier's


@dataclass(frozen=True)
class Template:
    """A template that is readable now, with the source that `copier update` will use."""

    source: str
    root: Path
    ref: str


def default_source() -> str:
    """Return the default template: this checkout, or the public repository."""
    checkout = Path(__file__).resolve().parents[2]
    here = str(checkout) if (checkout / "copier.yml").is_file() else HOME
    return os.environ.get("POC2PROD_TEMPLATE") or here


@contextmanager
def open_template(source: str) -> Iterator[Template]:
    """Make a template readable. Raises Refusal if the source is not a template."""
    path = Path(source).expanduser()
    if path.exists():
        source = str(path.resolve())  # recorded in the project, so it must be absolute
    if (path / "copier.yml").is_file():
        refuse_links_out(path, _list_files(path))
        yield Template(source, Path(source), "HEAD")
    elif source.endswith((".git", ".bundle")):
        with (
            credentials_apart(source) as source,
            TemporaryDirectory(prefix="poc2prod-") as folder,
        ):
            repository = clone(source, Path(folder) / "template", may_ask=True)
            releases = list_releases(repository)
            ref = releases[-1] if releases else "HEAD"
            if not check_out(repository, ref):
                raise Refusal(f"{source} is not a template: it has no copier.yml at {ref}")
            yield Template(source, repository.folder, ref)
    else:
        raise Refusal(
            f"{source} is not a template; name a folder with a copier.yml, "
            f"or a git address that ends with .git, like {HOME}"
        )


def _list_files(folder: Path) -> list[str]:
    """Return the files of a template: in a repository without those that git ignores."""
    if (folder / ".git").exists():
        return Repository(folder).rows("ls-files", "-co", "--exclude-standard", "-z")
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def clone(source: str, place: Path, project: Path = Path(), *, may_ask: bool = False) -> Repository:
    """Clone a template without a checkout.

    A relative source is relative to the project, as in Copier. With `may_ask`, git may ask for a
    password. Raises Refusal.
    """
    address = os.path.expanduser(source)  # noqa: PTH111, it may be a URL
    for prefix, stands_for in SHORTCUTS.items():
        address = address.replace(prefix, stands_for, 1) if address.startswith(prefix) else address
    inside = Repository(project).with_variables(GIT_TERMINAL_PROMPT=str(int(may_ask)))
    inside = inside.with_variables(**PROTOCOLS)
    command = ("clone", "--quiet", "--no-checkout", "--template=", "--origin=origin")
    try:
        inside(*command, "--", address, str(place))
    except Refusal as error:
        raise Refusal(f"{plain(source)} cannot be read; {error}") from None
    return Repository(place)


def check_out(template: Repository, version: str) -> bool:
    """Check out a version; return whether it has a copier.yml.

    Raises Refusal if a link leads out of it.
    """
    if commit := template.find_commit(version):
        template("checkout", "--quiet", "--detach", commit)
        refuse_links_out(template.folder, template.files(commit))
    return (template.folder / "copier.yml").is_file()


def list_releases(template: Repository, *which: str) -> list[str]:
    """Return the release tags, oldest first; `which` are more arguments of `git tag`."""
    return sorted(filter(version_key, template("tag", *which).split()), key=version_key)


def version_key(version: str) -> list[int]:
    """Return the sort key of a release; an empty list for other versions.

    Digits alone are not a release: 4 % of short commit hashes look like 3451750.
    """
    release = re.sub(r"-\d+-g[0-9a-f]+$", "", version)  # the suffix of `git describe`
    found = re.fullmatch(r"v?((?<=v)\d+|\d+(?:\.\d+)+)", release)
    return [*map(int, found[1].split("."))] if found else []
