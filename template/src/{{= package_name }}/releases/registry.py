"""Read and verify releases.

A release is a folder in `releases/`, named by its id; `releases/rollout.json` names the releases in
use. Every process that serves a model verifies it here, and trusts only the public key.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..atomic import to_json, write_atomic
from ..gates import Gate
from .signing import verify_envelope

RELEASES = Path("releases")
ROLLOUT = RELEASES / "rollout.json"
KEY = Path("keys/release.pub")  # committed: replacing it is a reviewed change
FILES = ("model.onnx", "reference.json", "scope.yaml", "gates.json", "evaluate.json", "card.md")
SIGNED_FILES = (*FILES, "manifest.json", "manifest.dsse")
# The first 12 digits of the SHA-256 of manifest.json: short enough to type, and with 48 bits two
# of a million releases share one with a probability of 0.2 %. The signature covers the whole hash.
ID = "^[0-9a-f]{12}$"
T = TypeVar("T")


class UnfitRelease(Exception):
    """A release that must not be used; the message names the file and the fault."""

    def __init__(self, file: Path | str, wrong: str) -> None:
        super().__init__(f"{file} {wrong}. What to do: docs/runbook.md#unfit-release")


class Release(NamedTuple):
    """A release that passed `verify_folder`."""

    id: str
    folder: Path
    name: str


class Rollout(BaseModel, frozen=True):
    """Ids of the releases in use, and of the release that the last rollback withdrew."""

    champion: str = Field(pattern=ID)
    previous: str | None = Field(default=None, pattern=ID)
    challenger: str | None = Field(default=None, pattern=ID)
    withdrawn: str | None = Field(default=None, pattern=ID)


class _Manifest(BaseModel):
    name: str
    files: dict[str, str]


def verify_release(id: str) -> Release:
    """Return the release with this id, after verifying it.

    Raises:
        UnfitRelease: it is missing, incomplete, altered, signed with another key, or its model
            does not meet its limits.
    """
    # An id may come from a command line or a file, so validate it before it becomes a path.
    if not re.fullmatch(ID, id):
        hint = "an id has 12 hexadecimal digits, for example 3f9c0b7a12de"
        raise UnfitRelease(RELEASES, f"has no release {id!r}: {hint}")
    return verify_folder(RELEASES / id)


def verify_folder(folder: Path) -> Release:
    """Check the signature, id, hashes, reports and gates of a release, in this order.

    Raises:
        UnfitRelease: see `verify_release`.
    """
    content = _read_files(folder)
    try:
        signed = verify_envelope(content["manifest.dsse"], KEY)
    except ValueError as error:
        raise UnfitRelease(folder / "manifest.dsse", str(error)) from None
    id = sha256(signed).hexdigest()[:12]
    if id != folder.name or content["manifest.json"] != signed:
        raise UnfitRelease(folder / "manifest.json", f"differs from the signed one, {id}")
    manifest = _parse(_Manifest, folder / "manifest.json", signed)
    hashes = {name: sha256(content[name]).hexdigest() for name in FILES}
    for name in sorted(hashes.keys() | manifest.files.keys()):
        hash, signed_hash = hashes.get(name), manifest.files.get(name)
        if hash != signed_hash:
            raise UnfitRelease(folder / name, f"has SHA-256 {hash}, not {signed_hash}")
    # A signature proves who made a release, not that its model is good: check the reports again.
    evaluated = _parse(dict[str, Any], folder / "evaluate.json", content["evaluate.json"])
    judged_hash = evaluated.get("model_sha256")
    if judged_hash != hashes["model.onnx"]:
        wrong = f"is about the model {judged_hash}, not model.onnx"
        raise UnfitRelease(folder / "evaluate.json", wrong)
    gates = _parse(list[Gate], folder / "gates.json", content["gates.json"])
    broken = [gate for gate in gates if not gate.passed]
    if broken or not gates:
        wrong = f"does not meet all limits: {broken}"
        raise UnfitRelease(folder / "gates.json", wrong)
    return Release(folder.name, folder, manifest.name)


def _read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a release by name.

    Raises:
        UnfitRelease: a file is missing, is not part of a release, or is a link.
    """
    try:
        paths = {path.name: path for path in folder.iterdir()}
        for name in sorted(paths.keys() ^ set(SIGNED_FILES)):
            wrong = "is not a file of a release" if name in paths else "is missing"
            raise UnfitRelease(folder / name, wrong)
        # The target of a link could change without a change in this folder.
        for path in paths.values():
            if folder.is_symlink() or path.is_symlink() or not path.is_file():
                raise UnfitRelease(path, "is a link, or not a regular file")
        return {name: path.read_bytes() for name, path in paths.items()}
    except OSError as error:
        raise UnfitRelease(folder, f"cannot be read ({error.strerror})") from None


def _parse(kind: type[T], path: Path, content: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(map(str, wrong["loc"]))
        rule = f"{field}: got {wrong['input']!r:.60}; {wrong['msg']}"
        raise UnfitRelease(path, f"is not valid: {rule}") from None


def read_rollout() -> Rollout:
    """Return the releases in use.

    Raises:
        UnfitRelease: there is no release yet, or the file is damaged.
    """
    try:
        content = ROLLOUT.read_bytes()
    except OSError as error:
        raise UnfitRelease(ROLLOUT, f"cannot be read ({error.strerror})") from None
    return _parse(Rollout, ROLLOUT, content)


def write_rollout(rollout: Rollout) -> None:
    """Replace the releases in use. Call it in `rollout.sole_writer`, or changes may get lost."""
    write_atomic(ROLLOUT, to_json(rollout.model_dump()))
