"""Read, verify and write releases.

A release is a folder in `releases/`, named by its id; `releases/rollout.json` names the releases in
use. Every process that serves a model verifies both here, and trusts only the public key. Files are
read once, and the verified bytes are loaded. No other module opens them.
"""

import base64
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..atomic import replace_durably, to_json, write_atomic
from ..gates import Gate
from .signing import ROLLOUT_TYPE, load_signer, sign, verify_envelope

RELEASES = Path("releases")
ROLLOUT = RELEASES / "rollout.json"
NEWEST_ROLLOUT = Path("data/rollout.json")  # the newest that this machine has read
KEY = Path("keys/release.pub")  # committed: replacing it is a reviewed change
FILES = ("model.onnx", "reference.json", "scope.yaml", "gates.json", "evaluate.json", "card.md")
SIGNED_FILES = (*FILES, "manifest.json", "manifest.dsse")
# The first 12 digits of the SHA-256 of manifest.json: short enough to type, and with 48 bits two
# of a million releases share one with a probability of 0.2 %. The signature covers the whole hash.
ID = "^[0-9a-f]{12}$"
RESTORE = "To sign a champion of your choice: `make restore RELEASE=id`"
T = TypeVar("T")


class UnfitRelease(Exception):
    """A release that must not be used; the message names the file and the fault."""

    def __init__(self, file: Path | str, wrong: str) -> None:
        super().__init__(f"{file} {wrong}. What to do: docs/runbook.md#unfit-release")


class Release(NamedTuple):
    """A release that passed `verify_folder`, with the verified content of its files."""

    id: str
    name: str
    files: Mapping[str, bytes]

    @property
    def model(self) -> bytes:
        return self.files["model.onnx"]

    @property
    def reference(self) -> bytes:
        return self.files["reference.json"]


class Rollout(BaseModel, frozen=True, extra="forbid"):
    """Ids of the releases in use, and of the release that the last rollback withdrew."""

    champion: str = Field(pattern=ID)
    previous: str | None = Field(default=None, pattern=ID)
    challenger: str | None = Field(default=None, pattern=ID)
    withdrawn: str | None = Field(default=None, pattern=ID)


class _SignedRollout(Rollout, frozen=True):
    """The content of `rollout.json`. Its number rises, so that no earlier one can return."""

    number: int = Field(ge=1)
    signatures: list[dict[str, str]]


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
    return Release(folder.name, manifest.name, content)


def store_release(manifest: bytes, files: Mapping[str, bytes]) -> str:
    """Sign a manifest, and write the folder of its release unless it exists; return the id.

    Call it in `rollout.sole_writer`, which deletes an incomplete folder.
    """
    id = sha256(manifest).hexdigest()[:12]
    if (RELEASES / id).exists():
        return id
    envelope = sign(manifest, load_signer(KEY))
    draft = RELEASES / f".part-{uuid4().hex}" / id  # `verify_folder` compares name and id
    draft.mkdir(parents=True)
    for name, content in {**files, "manifest.json": manifest, "manifest.dsse": envelope}.items():
        write_atomic(draft / name, content)
    verify_folder(draft)
    replace_durably(draft, RELEASES / id)
    return id


def list_manifests() -> dict[str, dict[str, Any]]:
    """Return the manifests of all releases by id, without verifying them."""
    manifests = {}
    for path in sorted(RELEASES.glob("*/manifest.json")):
        with suppress(OSError, ValueError, TypeError):
            manifests[path.parent.name] = dict(json.loads(path.read_bytes()))
    return manifests


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
    """Return the releases in use, and remember the number of this rollout.

    Raises:
        UnfitRelease: there is no release yet, or the file is damaged, not signed with the key of
            the releases, or older than one that this machine has read.
    """
    try:
        content = ROLLOUT.read_bytes()
    except OSError as error:
        raise UnfitRelease(ROLLOUT, f"cannot be read ({error.strerror})") from None
    rollout, newest = _verify_rollout(content), _newest_rollout()
    if rollout != newest:
        if newest and rollout.number <= newest.number:
            newer = f"this machine has read number {newest.number} ({NEWEST_ROLLOUT})"
            raise UnfitRelease(ROLLOUT, f"has number {rollout.number}, but {newer}")
        _remember(content)
    return Rollout(**rollout.model_dump(include=set(Rollout.model_fields)))


def _remember(rollout: bytes) -> None:
    # Where data/ cannot be written, an older rollout is not recognised.
    with suppress(OSError):
        NEWEST_ROLLOUT.parent.mkdir(exist_ok=True)
        write_atomic(NEWEST_ROLLOUT, rollout)


def _newest_rollout() -> _SignedRollout | None:
    """Return the newest rollout that this machine has read; None if it is lost or damaged."""
    with suppress(OSError, UnfitRelease):
        return _verify_rollout(NEWEST_ROLLOUT.read_bytes())
    return None


def _verify_rollout(content: bytes) -> _SignedRollout:
    with suppress(ValidationError):
        if not TypeAdapter(dict[str, Any]).validate_json(content).get("signatures"):
            _parse(Rollout, ROLLOUT, content)
            raise UnfitRelease(ROLLOUT, f"is not signed. {RESTORE}")
    rollout = _parse(_SignedRollout, ROLLOUT, content)
    try:
        verify_envelope(_envelope_of(rollout), KEY, ROLLOUT_TYPE)
    except ValueError as error:
        raise UnfitRelease(ROLLOUT, str(error)) from None
    return rollout


def _envelope_of(rollout: _SignedRollout) -> bytes:
    """Return the DSSE envelope. `rollout.json` has its content as plain JSON, to be readable."""
    payload = to_json(rollout.model_dump(exclude={"signatures"}))
    encoded = base64.b64encode(payload).decode()
    content = {"payload": encoded, "payloadType": ROLLOUT_TYPE, "signatures": rollout.signatures}
    return to_json(content)


def write_rollout(rollout: Rollout) -> None:
    """Sign and replace the releases in use, with a number above all earlier ones.

    Call it in `rollout.sole_writer`, or changes may get lost.
    """
    earlier = [newest.number] if (newest := _newest_rollout()) else []
    with suppress(OSError, UnfitRelease):
        earlier.append(_verify_rollout(ROLLOUT.read_bytes()).number)
    # By the clock if `releases/` was lost: servers then still accept the next rollout.
    number = max([int(time.time()), *(1 + number for number in earlier)])
    fields = {**rollout.model_dump(), "number": number}
    envelope = json.loads(sign(to_json(fields), load_signer(KEY), ROLLOUT_TYPE))
    content = to_json(fields | {"signatures": envelope["signatures"]})
    write_atomic(ROLLOUT, content)
    _remember(content)
