"""Signatures of releases: Ed25519 keys, DSSE envelopes.

DSSE (https://github.com/secure-systems-lab/dsse) signs the bytes of a file together with its type,
so that a signature for one purpose is not accepted for another.
"""

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

from ..atomic import to_json, write_atomic
from ..settings import ProjectSettings, variable

PAYLOAD_TYPE = "application/vnd.model-release+json"
VARIABLE = variable("SIGNING_KEY")
HINT = f"""Made a key that signs releases.
  keys/release.pub: commit it. Servers and devices trust only releases signed with its private half.
  keys/release.pem: keep it secret (git ignores it), with a copy in your password store. In CI,
  write it to a file from a secret and name that file in {VARIABLE}."""


def verify_envelope(envelope: bytes, public_key: Path) -> bytes:
    """Return the signed content.

    Raises:
        ValueError: the key is missing or damaged, another key signed, or the envelope was altered.
    """
    # Damaged keys and envelopes raise errors that share no base class but Exception.
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(public_key.read_bytes()))
    except Exception as error:
        raise ValueError(f"cannot be checked: {public_key} is no public key ({error})") from None
    try:
        parsed = Envelope.from_dict(json.loads(envelope))
        parsed.verify([key], threshold=1)
    except Exception as error:
        raise ValueError(f"was not signed with {public_key} ({error})") from None
    # The signature does not cover other keys of the JSON, nor how it is written: compare it whole.
    if parsed.payload_type != PAYLOAD_TYPE or to_json(parsed.to_dict()) != envelope:
        raise ValueError("holds something besides what was signed")
    return parsed.payload


def sign(content: bytes, signer: CryptoSigner) -> bytes:
    envelope = Envelope(content, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return to_json(envelope.to_dict())


def load_signer(public_key: Path) -> CryptoSigner:
    """Load the private half of a key. If neither half exists yet, make both.

    Raises:
        SystemExit: the private half is missing or damaged, or belongs to another key.
    """
    configured = ProjectSettings.read().signing_key
    private_key = Path(configured or public_key.with_suffix(".pem"))
    if not (configured or private_key.exists() or public_key.exists()):
        private_key.parent.mkdir(exist_ok=True)
        write_atomic(private_key, CryptoSigner.generate_ed25519().private_bytes, mode=0o600)
        print(HINT)
    try:
        private = load_pem_private_key(private_key.read_bytes(), None)
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"{type(private).__name__}, not Ed25519")
    except Exception as error:
        ask = f"Ask whoever made {public_key} for its other half, or name it in {VARIABLE}"
        raise SystemExit(f"{private_key} is no private key ({error}). {ask}.") from None
    signer = CryptoSigner(private)
    if not public_key.exists():
        public_key.parent.mkdir(exist_ok=True)
        subject = PublicFormat.SubjectPublicKeyInfo
        write_atomic(public_key, private.public_key().public_bytes(Encoding.PEM, subject))
    # A signature that its own public half rejects would be found only by the first server.
    try:
        verify_envelope(sign(b"", signer), public_key)
    except ValueError:
        keep = f"Sign with its other half, or replace {public_key}, then release again"
        raise SystemExit(f"{private_key} is not the other half of {public_key}. {keep}.") from None
    return signer
