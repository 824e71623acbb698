"""The command `release`: collect, sign and store the files of a model that meets all limits."""

import json
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from ..artifacts import RAW, REFERENCE, REPORTS, SHIPPED, refuse_other_models
from ..atomic import to_json
from ..gates import refuse_broken, verdicts
from ..pipeline.card import CARD, model_card
from ..pipeline.verify import recorded_md5s
from ..predictor import Predictor
from ..scope import SCOPE, load_scope
from .registry import (
    FILES,
    ROLLOUT,
    Rollout,
    list_manifests,
    read_rollout,
    store_release,
    verify_release,
    write_rollout,
)
from .rollout import sole_writer

GATES = REPORTS / "gates.json"
SOURCES = (SHIPPED, REFERENCE, SCOPE, GATES, REPORTS / "evaluate.json", CARD)  # of registry.FILES
PACKAGES = ("numpy", "onnxruntime")  # other versions may predict differently


def release() -> None:
    """Make the latest model a candidate, or the champion if it is the first release.

    Raises:
        SystemExit: a limit is not met, or a report is missing or about another model.
    """
    with sole_writer():
        rollout = read_rollout() if ROLLOUT.exists() else None
        content = _collect_files()
        made = verify_release(_store(content))
        if rollout is None:
            write_rollout(Rollout(champion=made.id))
            print(f"Champion: {made.id} ({made.name}), the first release.")
        elif made.id == rollout.champion:
            print(f"Champion: {made.id} ({made.name}), unchanged.")
        else:
            print(f"Candidate: {made.id} ({made.name}). Next: `make challenge RELEASE={made.id}`")


def _collect_files() -> dict[str, bytes]:
    """Read the files of a release, and check all limits again: `gates.json` may be out of date.

    Raises:
        SystemExit: see `release`.
    """
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
    # Compare every number, not only `passed`: a difference means that a report changed afterwards.
    expected = {gate.id: gate.model_dump() for gate in judged}
    for id in sorted(recorded.keys() | expected.keys()):
        if recorded.get(id) != expected.get(id):
            rows = (recorded.get(id), expected.get(id))
            was, now = (_describe_gate(row) if row else "missing" for row in rows)
            raise SystemExit(f"{GATES} is out of date: {id} was {was}, is {now}. Run `make model`.")
    if content["card.md"] != model_card().encode():
        raise SystemExit(f"{CARD} is older than {REPORTS}. Run `make card`.")
    return content


def _describe_gate(row: dict[str, Any]) -> str:
    """Return a gate in words, like `0.98 >= 0.9, passed`; a damaged one may lack some."""
    numbers = " ".join(str(row.get(key)) for key in ("observed", "comparison", "limit"))
    return f"{numbers}, {'passed' if row.get('passed') else 'failed'}"


def _store(content: dict[str, bytes]) -> str:
    """Write and sign a release folder, unless one with the same files exists; return its id."""
    hashes = {name: sha256(file).hexdigest() for name, file in content.items()}
    earlier = list_manifests()
    for id, manifest in earlier.items():
        if manifest.get("files") == hashes:
            return id
    trained_at = Predictor().trained_at
    manifest_bytes = to_json(
        {
            "name": f"{load_scope().project}@v{_next_number(earlier)}",
            "files": hashes,
            "data": {str(RAW): recorded_md5s().get(str(RAW), "unknown")},
            "code": _describe_commit(),
            "packages": {name: version(name) for name in PACKAGES},
            "created_at": datetime.fromtimestamp(trained_at, UTC).isoformat(),
        }
    )
    return store_release(manifest_bytes, content)


def _next_number(manifests: dict[str, dict[str, Any]]) -> int:
    suffixes = [str(manifest.get("name")).rpartition("@v")[2] for manifest in manifests.values()]
    return 1 + max((int(suffix) for suffix in suffixes if suffix.isdecimal()), default=0)


def _describe_commit() -> str:
    """Return the commit, with `-dirty` if there are uncommitted changes, or `unknown`."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    return "unknown"
