"""Read files of templates and projects that others wrote."""

import stat
from collections.abc import Iterable
from pathlib import Path

from .refusal import Refusal

MAX_BYTES = 50_000_000  # the lock file of a project has 1 to 2 MB


def read_inside(root: Path, path: Path) -> bytes:
    """Return the content of a file below a folder. A link must not lead out of it.

    Raises Refusal for a link that does, or for a file that is special or too large, and
    FileNotFoundError.
    """
    real = (root / path).resolve(strict=True)
    if not real.is_relative_to(root.resolve()):
        raise Refusal(f"{root / path} is a link that leads out of {root}; replace it by a file")
    info = real.stat()
    if not stat.S_ISREG(info.st_mode):
        raise Refusal(f"{root / path} is not a regular file")
    if info.st_size > MAX_BYTES:
        rule = f"{info.st_size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read"
        raise Refusal(f"{root / path} has {rule}")
    return real.read_bytes()


def read_text(root: Path, path: Path, default: str | None = None) -> str:
    """Return the text of a file below a folder; the default if there is no such file.

    Raises Refusal as `read_inside`, or UnicodeDecodeError if there is no default.
    """
    try:
        content = read_inside(root, path)
    except (FileNotFoundError, NotADirectoryError):
        if default is None:
            raise
        return default
    return content.decode("utf-8", "strict" if default is None else "replace")


def refuse_links_out(root: Path, names: Iterable[str]) -> None:
    """Refuse a template with a link that leads out of it: rendering would copy the target.

    `names` are its files. Raises Refusal that names the link.
    """
    top = root.resolve()
    for name in names:
        path = root / name
        if path.is_symlink() and not path.resolve().is_relative_to(top):
            raise Refusal(f"{name} is a link that leads out of the template")
