"""Where the template comes from: a checkout on this machine, or a git repository."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .refusal import Refusal

HOME = "https://github.com/poc2prod/poc2prod.git"


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


def _cloned(source: str, root: Path) -> Template:
    ref = _latest_release(source)
    at_release = [] if ref == "HEAD" else ["--branch", ref]
    _git(source, "clone", "--quiet", "--depth=1", *at_release, "--", source, str(root))
    if not (root / "copier.yml").is_file():
        raise Refusal(f"{source} is no template; it has no copier.yml at {ref}")
    return Template(source, root, ref)


def _latest_release(source: str) -> str:
    tags = re.findall(r"refs/tags/(\S+)", _git(source, "ls-remote", "--tags", "--", source))
    releases = [tag for tag in tags if re.fullmatch(r"v?\d+(\.\d+)*", tag)]
    return max(releases, key=lambda tag: [*map(int, re.findall(r"\d+", tag))], default="HEAD")


def _git(source: str, *arguments: str) -> str:
    process = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["git failed"])[0]
        raise Refusal(f"{source} cannot be read; {reason}")
    return process.stdout
