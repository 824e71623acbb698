"""A model that keeps its promises, put together, signed, and never changed again."""

import json
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from ..artifacts import RAW, REFERENCE, REPORTS, SHIPPED, move_whole, to_json, write_whole
from ..gates import refuse_broken, refuse_other_models, verdicts
from ..pipeline.card import CARD, model_card
from ..pipeline.verify import recorded_md5s
from ..predictor import Predictor
from ..scope import SCOPE, load_scope
from .registry import (
    FILES,
    KEY,
    RELEASES,
    Rollout,
    examined,
    read_rollout,
    verified,
    write_rollout,
)
from .rollout import sole_writer
from .signing import load_signer, sealed

GATES = REPORTS / "gates.json"
SOURCES = (SHIPPED, REFERENCE, SCOPE, GATES, REPORTS / "evaluate.json", CARD)
PACKAGES = ("numpy", "onnxruntime")  # with which it was judged


def release() -> None:
    """Make a candidate of the model that was judged last; the first one ever is the champion.

    Raises:
        SystemExit: a promise is broken, or evidence is missing or about something else.
    """
    with sole_writer():
        rollout = read_rollout() if (RELEASES / "rollout.json").exists() else None
        content = _judged_files()
        made = verified(_put(content))
        if rollout is None:
            write_rollout(Rollout(champion=made.id))
            print(f"Champion: {made.id} ({made.name}), the first there is.")
        elif made.id == rollout.champion:
            print(f"Champion: {made.id} ({made.name}), as before.")
        else:
            print(f"Candidate: {made.id} ({made.name}). Next: `make challenge RELEASE={made.id}`")


def _judged_files() -> dict[str, bytes]:
    """Return what goes into a release, once the gates say the same of it as they said before."""
    try:
        content = {name: path.read_bytes() for name, path in zip(FILES, SOURCES, strict=True)}
        recorded = {row["id"]: row for row in json.loads(content["gates.json"])}
    except OSError as error:
        raise SystemExit(f"{error.filename}: {error.strerror}. Run `make model`.") from None
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"{GATES} is damaged ({error!r}). Run `make model`.") from None
    refuse_other_models()
    judged = verdicts()
    refuse_broken(judged)
    expected = {gate.id: gate.model_dump() for gate in judged}
    for id in sorted(recorded.keys() | expected.keys()):
        if (found := recorded.get(id)) != expected.get(id):
            raise SystemExit(f"{GATES} says {found}, not {expected.get(id)}. Run `make model`.")
    if content["card.md"] != model_card().encode():
        raise SystemExit(f"{CARD} does not tell of the evidence in {REPORTS}. Run `make card`.")
    return content


def _put(content: dict[str, bytes]) -> str:
    """Put the files in a folder named by their manifest; return its name, the id."""
    files, known = {name: sha256(file).hexdigest() for name, file in content.items()}, _manifests()
    for id, other in known.items():
        if other.get("files") == files:
            return id
    numbers = [str(other.get("name")).rpartition("@v")[2] for other in known.values()]
    number = 1 + max((int(text) for text in numbers if text.isdecimal()), default=0)
    manifest = to_json(
        {
            "name": f"{load_scope().project}@v{number}",
            "files": files,
            "data": {str(RAW): recorded_md5s().get(str(RAW), "unknown")},
            "code": _revision(),
            "packages": {name: version(name) for name in PACKAGES},
            "created_at": datetime.fromtimestamp(Predictor().trained_at, UTC).isoformat(),
        }
    )
    id = sha256(manifest).hexdigest()[:12]
    if not (RELEASES / id).exists():
        draft = RELEASES / f".part-{uuid4().hex}" / id
        draft.mkdir(parents=True)
        signed = {"manifest.json": manifest, "manifest.dsse": sealed(manifest, load_signer(KEY))}
        for name, file in (content | signed).items():
            write_whole(draft / name, file)
        examined(draft)  # what a server would refuse is never put in place
        move_whole(draft, RELEASES / id)
    return id


def _manifests() -> dict[str, dict[str, Any]]:
    """Return what earlier releases say about themselves, unverified."""
    known = {}
    for path in sorted(RELEASES.glob("*/manifest.json")):
        with suppress(OSError, ValueError, TypeError):
            known[path.parent.name] = dict(json.loads(path.read_bytes()))
    return known


def _revision() -> str:
    """Return the commit of the code, with `-dirty` when files were changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    return "unknown"
