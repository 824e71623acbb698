"""The champion, as files that any web server can hand out and devices can trust (TUF).

Three keys for the root, of which two sign, say which other keys count; one signs what is
published, one that it is still the newest: https://theupdateframework.io/docs/metadata.
"""

import time
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets, Timestamp

from ..artifacts import write_whole
from ..device.model_update import KEYS, newest
from ..releases.registry import read_rollout, verified
from ..releases.rollout import sole_writer

REPOSITORY = Path("repository")
ROLES = {"targets": ["targets"], "online": ["snapshot", "timestamp"]}  # what each key signs
ROLES |= {f"root-{number}": ["root"] for number in (1, 2, 3)}
DAYS = {"root": 365, "targets": 365, "snapshot": 7, "timestamp": 7}  # then devices refuse it
RENEWED_DAYS = 60  # before its end
HINT = """Made the keys of the updates: git ignores keys/*.pem; docs/runbook.md#model-update says
  which of them to take offline. Commit keys/1.root.json: devices start to trust from there."""


def publish() -> None:
    """Write the champion to `repository/`, or renew for how long it may be taken for the newest.

    Raises:
        SystemExit: there is no champion, it is unfit, or a key is missing.
    """
    with sole_writer():
        champion, root = verified(read_rollout().champion), _newest_root()
        metadata, targets = REPOSITORY / "metadata", REPOSITORY / "targets"
        for folder in (metadata, targets):
            folder.mkdir(parents=True, exist_ok=True)
        for path in KEYS.glob("[1-9]*.root.json"):
            write_whole(metadata / path.name, path.read_bytes())
        contents = {path.name: path.read_bytes() for path in champion.folder.iterdir()}
        files = {n: TargetFile.from_data(n, c, ["sha256"]) for n, c in contents.items()}
        for name, file in files.items():
            write_whole(targets / f"{file.hashes['sha256']}.{name}", contents[name])
        last = newest(metadata, "snapshot")
        after = 1 + int(last.name.partition(".")[0]) if last else 1
        version = max(after, int(time.time()))  # rises even where the folder was lost
        named = _named(root, files) or version
        if named == version:
            content = _signed(Targets(version, targets=files), root)
            write_whole(metadata / f"{version}.targets.json", content)
        snapshot = Snapshot(version, meta={"targets.json": MetaFile(named)})
        write_whole(metadata / f"{version}.snapshot.json", _signed(snapshot, root))
        timestamp = Timestamp(version, snapshot_meta=MetaFile(version))
        write_whole(metadata / "timestamp.json", _signed(timestamp, root))
        print(f"Published: {champion.id} ({champion.name}), for {DAYS['timestamp']} days.")
        if _ends_soon(root):
            print(f"The root ends on {root.expires:%Y-%m-%d}: `make rotate KEY=root-1` renews it.")


def rotate(name: str) -> None:
    """Replace a key, by its name; the root, which says so, is signed and holds for a year anew.

    Raises:
        SystemExit: there is no such key, or fewer than two others of the root are in `keys/`.
    """
    if name not in ROLES:
        raise SystemExit(f"No key {name!r}: one of {', '.join(ROLES)}.")
    with sole_writer():
        old = _newest_root()
        new, signer = deepcopy(old), CryptoSigner.generate_ed25519()
        _give(new, name, signer)
        new.version += 1
        content = _signed(new, old, **{name: signer})
        write_whole(KEYS / f"{name}.pem", signer.private_bytes, mode=0o600)
        write_whole(KEYS / f"{new.version}.root.json", content)
        print(f"Made keys/{new.version}.root.json: commit it. Next: `make publish`")


def _newest_root() -> Root:
    """Return the newest root; the first time, make it and every key."""
    if path := newest(KEYS, "root"):
        return Metadata[Root].from_bytes(path.read_bytes()).signed
    root = Root(consistent_snapshot=True)
    for name in ROLES:
        signer = CryptoSigner.generate_ed25519()
        _give(root, name, signer)
        write_whole(KEYS / f"{name}.pem", signer.private_bytes, mode=0o600)
    root.roles["root"].threshold = 2
    write_whole(KEYS / "1.root.json", _signed(root, root))
    print(HINT)
    return root


def _give(root: Root, name: str, signer: CryptoSigner) -> None:
    """Let a key count for what its name says, in place of the one before."""
    key = signer.public_key
    key.unrecognized_fields["x-name"] = name
    for role in ROLES[name]:
        for id in list(root.roles[role].keyids):
            if root.keys[id].unrecognized_fields["x-name"] == name:
                root.revoke_key(id, role)
        root.add_key(key, role)


def _signed(payload: T, root: Root, **made: CryptoSigner) -> bytes:
    """Sign with every key of the role that is in `keys/`, if `root` then takes it."""
    now, metadata = datetime.now(UTC).replace(microsecond=0), Metadata(payload)
    payload.expires = now + timedelta(days=DAYS[payload.type])
    names = [name for name, roles in ROLES.items() if payload.type in roles]
    try:
        for path in filter(Path.exists, (KEYS / f"{name}.pem" for name in names)):
            key = load_pem_private_key(path.read_bytes(), None)
            metadata.sign(made.get(path.stem) or CryptoSigner(key), append=True)
        for judge in (root, payload) if isinstance(payload, Root) else (root,):
            judge.verify_delegate(payload.type, metadata.signed_bytes, metadata.signatures)
    except Exception as error:  # damaged keys raise errors that share no other base class
        which = f"Its keys are {', '.join(names)}, as .pem files in {KEYS}"
        raise SystemExit(f"Cannot sign the {payload.type}: {error}. {which}.") from None
    return metadata.to_bytes()


def _named(root: Root, files: dict[str, TargetFile]) -> int:
    """Return the version of what was published last, if it is the same; else 0."""
    if path := newest(REPOSITORY / "metadata", "targets"):
        with suppress(RepositoryError):
            last = Metadata[Targets].from_bytes(path.read_bytes())
            root.verify_delegate("targets", last.signed_bytes, last.signatures)
            if last.signed.targets == files and not _ends_soon(last.signed):
                return last.signed.version
    return 0


def _ends_soon(payload: Root | Targets) -> bool:
    return payload.expires < datetime.now(UTC) + timedelta(days=RENEWED_DAYS)
