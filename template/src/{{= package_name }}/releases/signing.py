"""A signature that only the holder of one key can make, and that anybody can check (DSSE)."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from ..artifacts import to_json, write_whole
from ..settings import ProjectSettings, variable

KIND = "application/vnd.model-release+json"
VARIABLE = variable("SIGNING_KEY")
HINT = f"""Made a key that signs releases.
  keys/release.pub: commit it; servers and devices trust only what was signed with its other half.
  keys/release.pem: keep it secret (git ignores it), with a copy where you keep passwords; to CI
  it goes as a secret, written to a file that {VARIABLE} names."""


def opened(envelope: bytes, public_key: Path) -> bytes:
    """Return what was signed.

    Raises:
        ValueError: there is no such key, another key signed it, or it was altered.
    """
    # Damaged keys and envelopes raise errors that share no other base class.
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(public_key.read_bytes()))
    except Exception as error:
        raise ValueError(f"cannot be checked: {public_key} is no public key ({error})") from None
    try:
        found = Envelope.from_dict(json.loads(envelope))
        found.verify([key], threshold=1)
    except Exception as error:
        raise ValueError(f"was not signed with {public_key} ({error})") from None
    if found.payload_type != KIND or to_json(found.to_dict()) != envelope:
        raise ValueError("holds something besides what was signed")
    return found.payload


def sealed(content: bytes, signer: CryptoSigner) -> bytes:
    """Return an envelope around the content, signed."""
    envelope = Envelope(content, KIND, {})
    envelope.sign(signer)
    return to_json(envelope.to_dict())


def load_signer(public_key: Path) -> CryptoSigner:
    """Return the private half of a key; the first time, make both halves.

    Raises:
        SystemExit: the private half is missing or damaged, or is of another key.
    """
    named = ProjectSettings.read().signing_key
    path = Path(named or public_key.with_suffix(".pem"))
    if not (named or path.exists() or public_key.exists()):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        print(HINT)
    try:
        private = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"{type(private).__name__}, not Ed25519")
    except Exception as error:
        ask = f"Ask whoever made {public_key} for its other half, or name it in {VARIABLE}"
        raise SystemExit(f"{path} is no private key ({error}). {ask}.") from None
    signer = CryptoSigner(private)
    if not public_key.exists():
        public_key.parent.mkdir(exist_ok=True)
        subject = PublicFormat.SubjectPublicKeyInfo
        write_whole(public_key, private.public_key().public_bytes(Encoding.PEM, subject))
    try:
        opened(sealed(b"", signer), public_key)
    except ValueError:
        keep = f"Sign with its other half, or replace {public_key}, then release anew"
        raise SystemExit(f"{path} is not the other half of {public_key}. {keep}.") from None
    return signer
