"""Signatures of releases: Ed25519 keys and DSSE envelopes.

DSSE (https://github.com/secure-systems-lab/dsse) signs the bytes of a file together with its type,
so that a signature for one purpose is not accepted for another.
"""

import json
import subprocess
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

RELEASE_TYPE = "application/vnd.model-release+json"
ROLLOUT_TYPE = "application/vnd.model-rollout+json"
VARIABLE = variable("SIGNING_KEY")
HINT = f"""Created a key pair to sign releases.
  keys/release.pub: the public key; commit it. Only releases signed with this pair are served.
  keys/release.pem: the private key; keep it secret (git ignores it), with a copy in your password
  manager. In CI, write it from a secret to a file, and set {VARIABLE} to its path."""


def verify_envelope(envelope: bytes, public_key: Path, kind: str = RELEASE_TYPE) -> bytes:
    """Return the signed content.

    Raises:
        ValueError: the key is missing or damaged, the signature is by another key, or the envelope
            was altered.
    """
    # Damaged keys and envelopes raise various errors, whose only common base class is Exception.
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(public_key.read_bytes()))
    except Exception as error:
        raise ValueError(f"is not verified: {public_key} is not a public key ({error})") from None
    try:
        parsed = Envelope.from_dict(json.loads(envelope))
        parsed.verify([key], threshold=1)
    except Exception as error:
        raise ValueError(f"was not signed with {public_key} ({error})") from None
    # The signature covers neither additional JSON keys nor the formatting: compare all bytes.
    if parsed.payload_type != kind or to_json(parsed.to_dict()) != envelope:
        raise ValueError("contains more than what was signed")
    return parsed.payload


def sign(content: bytes, signer: CryptoSigner, kind: str = RELEASE_TYPE) -> bytes:
    envelope = Envelope(content, kind, {})
    envelope.sign(signer)
    return to_json(envelope.to_dict())


def write_private_key(path: Path, signer: CryptoSigner) -> None:
    """Write a private key that only its owner may read.

    Raises:
        SystemExit: git does not ignore the path, so it would commit the key.
    """
    try:
        command = ["git", "check-ignore", "--quiet", str(path)]
        # 1: git would commit the file. Other statuses: it is ignored, or in no repository.
        is_exposed = subprocess.run(command, capture_output=True).returncode == 1  # noqa: S603
    except FileNotFoundError:  # no git
        is_exposed = False
    if is_exposed:
        raise SystemExit(
            f"git would commit the private key {path}. Nothing was written. "
            f"To make git ignore it: echo '*.pem' >> {path.parent / '.gitignore'}"
        )
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, signer.private_bytes, mode=0o600)


def load_signer(public_key: Path) -> CryptoSigner:
    """Load the private key of a pair. If neither key exists yet, create both.

    Raises:
        SystemExit: the private key is missing, damaged, of another pair, or git would commit it.
    """
    configured = ProjectSettings.read().signing_key
    private_key = Path(configured or public_key.with_suffix(".pem"))
    if not (configured or private_key.exists() or public_key.exists()):
        write_private_key(private_key, CryptoSigner.generate_ed25519())
        print(HINT)
    try:
        private = load_pem_private_key(private_key.read_bytes(), None)
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"{type(private).__name__}, not Ed25519")
    except Exception as error:
        ask = f"Get the private key of {public_key} from its owner, or set {VARIABLE} to its path"
        raise SystemExit(f"{private_key} is not a private key ({error}). {ask}.") from None
    signer = CryptoSigner(private)
    if not public_key.exists():
        public_key.parent.mkdir(exist_ok=True)
        subject = PublicFormat.SubjectPublicKeyInfo
        write_atomic(public_key, private.public_key().public_bytes(Encoding.PEM, subject))
    # Fail now rather than when the release is first loaded.
    try:
        verify_envelope(sign(b"", signer), public_key)
    except ValueError:
        remedy = f"Sign with the right key, or replace {public_key}; then release again"
        raise SystemExit(f"{private_key} does not belong to {public_key}. {remedy}.") from None
    return signer
