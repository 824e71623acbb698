"""The commands `publish` and `rotate`: the signed model repository for devices, `repository/`.

Any web server can serve the folder; devices trust the signatures, not the server. The roles are
those of The Update Framework (TUF, https://theupdateframework.io/docs/metadata): `root` lists the
valid keys, `targets` signs the files, `snapshot` and `timestamp` sign that they are the newest.
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

from ..atomic import write_atomic
from ..device.model_update import KEYS, newest_metadata
from ..releases.registry import read_rollout, verify_release
from ..releases.rollout import sole_writer
from ..releases.signing import write_private_key

REPOSITORY = Path("repository")
METADATA = REPOSITORY / "metadata"
TARGETS = REPOSITORY / "targets"
# The roles that each key signs. Only `online` has to stay on the machine that runs `publish` every
# week. Two of the three root keys have to sign: one may be lost or stolen.
ROLES = {
    "targets": ["targets"],
    "online": ["snapshot", "timestamp"],
    "root-1": ["root"],
    "root-2": ["root"],
    "root-3": ["root"],
}
ROOT_THRESHOLD = 2
# Devices reject metadata that is older. The root and targets keys are offline and sign once a year.
# The other roles expire after a week: an attacker who controls the web server can hide a newer
# release for a week at most.
DAYS = {"root": 365, "targets": 365, "snapshot": 7, "timestamp": 7}
# Enough time to fetch two offline keys, and longer than the week between two runs of `publish`.
RENEWED_DAYS = 60
HINT = """Created the keys for model updates. Commit keys/1.root.json, which devices need.
Move all keys/*.pem except online.pem offline (git ignores them): docs/devices.md#keys"""


def publish() -> None:
    """Write the champion to `repository/`, or renew the signature that it is the newest release.

    Raises:
        SystemExit: there is no champion, it cannot be verified, or a key is missing.
    """
    with sole_writer():
        champion = verify_release(read_rollout().champion)
        root = _load_root()
        for folder in (METADATA, TARGETS):
            folder.mkdir(parents=True, exist_ok=True)
        # A device with an old root follows the chain of all roots to the newest.
        for path in KEYS.glob("[1-9]*.root.json"):
            write_atomic(METADATA / path.name, path.read_bytes())
        files = {
            name: TargetFile.from_data(name, content, ["sha256"])
            for name, content in champion.files.items()
        }
        for name, file in files.items():
            write_atomic(TARGETS / f"{file.hashes['sha256']}.{name}", champion.files[name])
        version = _next_version()
        targets_version = _published_version(root, files)
        if not targets_version:
            targets_version = version
            content = _sign(Targets(version, targets=files), root)
            write_atomic(METADATA / f"{version}.targets.json", content)
        snapshot = Snapshot(version, meta={"targets.json": MetaFile(targets_version)})
        write_atomic(METADATA / f"{version}.snapshot.json", _sign(snapshot, root))
        # Last, because devices read it first, and it refers to the snapshot.
        timestamp = Timestamp(version, snapshot_meta=MetaFile(version))
        write_atomic(METADATA / "timestamp.json", _sign(timestamp, root))
        print(f"Published {champion.id} ({champion.name}), valid for {DAYS['timestamp']} days.")
        if _expires_soon(root):
            remedy = "Renew it with `make rotate KEY=root-1`"
            print(f"The root metadata expires on {root.expires:%Y-%m-%d}. {remedy}.")


def rotate(name: str) -> None:
    """Replace a key, by name, and sign a new root with it, valid for a year.

    Raises:
        SystemExit: the name is unknown, or `keys/` has fewer than two other root keys.
    """
    if name not in ROLES:
        raise SystemExit(f"Unknown key {name!r}; choose one of {', '.join(ROLES)}.")
    with sole_writer():
        old = _load_root()
        new = deepcopy(old)
        signer = CryptoSigner.generate_ed25519()
        _assign_key(new, name, signer)
        new.version += 1
        content = _sign(new, old, replaced={name: signer})
        write_private_key(KEYS / f"{name}.pem", signer)
        write_atomic(KEYS / f"{new.version}.root.json", content)
        print(f"Created keys/{new.version}.root.json. Commit it, then run `make publish`.")


def _load_root() -> Root:
    """Return the newest root. If there is none, create it and all keys."""
    if path := newest_metadata(KEYS, "root"):
        return Metadata[Root].from_bytes(path.read_bytes()).signed
    root = Root(consistent_snapshot=True)
    for name in ROLES:
        signer = CryptoSigner.generate_ed25519()
        _assign_key(root, name, signer)
        write_private_key(KEYS / f"{name}.pem", signer)
    root.roles["root"].threshold = ROOT_THRESHOLD
    write_atomic(KEYS / "1.root.json", _sign(root, root))
    print(HINT)
    return root


def _assign_key(root: Root, name: str, signer: CryptoSigner) -> None:
    """Authorize a key for the roles of its name, and revoke the previous key of that name."""
    key = signer.public_key
    key.unrecognized_fields["x-name"] = name
    for role in ROLES[name]:
        for id in list(root.roles[role].keyids):
            if root.keys[id].unrecognized_fields["x-name"] == name:
                root.revoke_key(id, role)
        root.add_key(key, role)


def _sign(payload: T, root: Root, replaced: dict[str, CryptoSigner] | None = None) -> bytes:
    """Sign with every key of the role in `keys/`, and check that `root` accepts the signatures.

    `replaced` holds new keys by name that are not on disk yet.
    """
    metadata = Metadata(payload)
    now = datetime.now(UTC).replace(microsecond=0)  # TUF uses whole seconds
    payload.expires = now + timedelta(days=DAYS[payload.type])
    names = [name for name, roles in ROLES.items() if payload.type in roles]
    # A new root has to be valid under the old root, which devices have, and under itself.
    verifiers = (root, payload) if isinstance(payload, Root) else (root,)
    try:
        for path in filter(Path.exists, (KEYS / f"{name}.pem" for name in names)):
            key = load_pem_private_key(path.read_bytes(), None)
            metadata.sign((replaced or {}).get(path.stem) or CryptoSigner(key), append=True)
        for verifier in verifiers:
            verifier.verify_delegate(payload.type, metadata.signed_bytes, metadata.signatures)
    except Exception as error:  # the errors of damaged keys have no common base class
        hint = f"It needs {', '.join(names)}, as .pem files in {KEYS}"
        raise SystemExit(f"Cannot sign {payload.type}: {error}. {hint}.") from None
    return metadata.to_bytes()


def _next_version() -> int:
    """Return a version above all earlier ones, by the clock if `repository/` was lost."""
    newest = newest_metadata(METADATA, "snapshot")
    after_newest = 1 + int(newest.name.partition(".")[0]) if newest else 1
    return max(after_newest, int(time.time()))


def _published_version(root: Root, files: dict[str, TargetFile]) -> int:
    """Return the version of `targets` if it is still valid for these files, else 0."""
    if path := newest_metadata(METADATA, "targets"):
        with suppress(RepositoryError):
            metadata = Metadata[Targets].from_bytes(path.read_bytes())
            root.verify_delegate("targets", metadata.signed_bytes, metadata.signatures)
            if metadata.signed.targets == files and not _expires_soon(metadata.signed):
                return metadata.signed.version
    return 0


def _expires_soon(payload: Root | Targets) -> bool:
    return payload.expires < datetime.now(UTC) + timedelta(days=RENEWED_DAYS)
