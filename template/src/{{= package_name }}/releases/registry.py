"""Releases of the model, read by whatever serves them, on trust in one public key."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..artifacts import to_json, write_whole
from ..gates import Gate
from .signing import opened

RELEASES = Path("releases")
KEY = Path("keys/release.pub")  # committed; a release signed with another key is refused
FILES = ("model.onnx", "reference.json", "scope.yaml", "gates.json", "evaluate.json", "card.md")
ID = "^[0-9a-f]{12}$"  # the first digits of the SHA-256 of manifest.json
T = TypeVar("T")


class Unfit(Exception):
    """A file that keeps a release from being used, what is wrong with it, and what to do."""

    def __init__(self, file: Path | str, wrong: str) -> None:
        super().__init__(f"{file} {wrong}. What to do: docs/runbook.md#unfit-release")


class Release(NamedTuple):
    """A release about which everything holds."""

    id: str
    folder: Path
    name: str


class Rollout(BaseModel, frozen=True):
    """Which releases are in use, and which one the last rollback withdrew."""

    champion: str = Field(pattern=ID)
    previous: str | None = Field(default=None, pattern=ID)
    challenger: str | None = Field(default=None, pattern=ID)
    withdrawn: str | None = Field(default=None, pattern=ID)


class _Manifest(BaseModel):
    name: str
    files: dict[str, str]


def verified(id: str) -> Release:
    """Return the release with this id, once everything about it holds.

    Raises:
        Unfit: it is missing, incomplete, altered, signed with another key, or not good enough.
    """
    if not re.fullmatch(ID, id):
        raise Unfit(RELEASES, f"has no {id!r}: an id is 12 of 0-9a-f, for example 3f9c0b7a12de")
    return examined(RELEASES / id)


def examined(folder: Path) -> Release:
    """Hold a folder against its signature, its hashes, its gates, and the id that is its name."""
    content = _plain_files(folder)
    try:
        signed = opened(content["manifest.dsse"], KEY)
    except ValueError as error:
        raise Unfit(folder / "manifest.dsse", str(error)) from None
    if (id := sha256(signed).hexdigest()[:12]) != folder.name or content["manifest.json"] != signed:
        raise Unfit(folder / "manifest.json", f"is not what was signed, which is {id}")
    manifest = _parsed(_Manifest, folder / "manifest.json", signed)
    found = {name: sha256(content[name]).hexdigest() for name in FILES}
    for name in sorted(found.keys() | manifest.files.keys()):
        if (hash := found.get(name)) != manifest.files.get(name):
            raise Unfit(folder / name, f"has SHA-256 {hash}, not {manifest.files.get(name)}")
    evaluated = _parsed(dict[str, Any], folder / "evaluate.json", content["evaluate.json"])
    if (judged := evaluated.get("model_sha256")) != found["model.onnx"]:
        raise Unfit(folder / "evaluate.json", f"is about the model {judged}, not model.onnx")
    gates = _parsed(list[Gate], folder / "gates.json", content["gates.json"])
    if broken := [gate for gate in gates if not gate.passed] or not gates:
        raise Unfit(folder / "gates.json", f"must hold kept promises only; broken: {broken}")
    return Release(folder.name, folder, manifest.name)


def _plain_files(folder: Path) -> dict[str, bytes]:
    try:
        paths = {path.name: path for path in folder.iterdir()}
        for name in sorted(paths.keys() ^ {*FILES, "manifest.json", "manifest.dsse"}):
            raise Unfit(folder / name, "belongs to no release" if name in paths else "is missing")
        for path in paths.values():
            if folder.is_symlink() or path.is_symlink() or not path.is_file():
                raise Unfit(path, "is reached by a link, or is no file")
        return {name: path.read_bytes() for name, path in paths.items()}
    except OSError as error:
        raise Unfit(folder, f"cannot be read ({error.strerror})") from None


def _parsed(kind: type[T], path: Path, content: bytes | None = None) -> T:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes() if content is None else content)
    except OSError as error:
        raise Unfit(path, f"cannot be read ({error.strerror})") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        rule = f"{'.'.join(map(str, wrong['loc']))}: got {wrong['input']!r:.60}; {wrong['msg']}"
        raise Unfit(path, f"is not valid: {rule}") from None


def read_rollout() -> Rollout:
    """Return what is in use.

    Raises:
        Unfit: nobody has said so yet, or the file is damaged.
    """
    return _parsed(Rollout, RELEASES / "rollout.json")


def write_rollout(rollout: Rollout) -> None:
    """Replace what is in use at once; only inside of `rollout.sole_writer`, to lose no update."""
    write_whole(RELEASES / "rollout.json", to_json(rollout.model_dump()))
