"""Recompute the hashes in `dvc.lock`: DVC does not detect damaged files."""

import hashlib
import json
from pathlib import Path

import yaml

LOCK = Path("dvc.lock")


def verify() -> None:
    """Compare every output in `dvc.lock` with the bytes on disk.

    Raises:
        SystemExit: there is no lock, or outputs are missing or differ; the message names each.
    """
    if not LOCK.exists():
        raise SystemExit(f"{LOCK} is missing. Run `dvc repro` first.")
    recorded = recorded_md5s()
    actual = {name: _md5(Path(name)) for name in sorted(recorded)}
    wrong = [
        f"\n  {name}: {md5}, not {recorded[name]}"
        for name, md5 in actual.items()
        if md5 != recorded[name]
    ]
    if wrong:
        rows = "".join(wrong)
        count = f"{len(wrong)} of {len(recorded)} outputs differ from {LOCK}:"
        raise SystemExit(f"{count}{rows}\nWhat to do: docs/runbook.md#damaged-data")
    print(f"{len(recorded)} outputs match {LOCK}.")


def recorded_md5s() -> dict[str, str]:
    """Return the hash of every output in `dvc.lock`; empty if stages ran without DVC."""
    content = yaml.safe_load(LOCK.read_text()) if LOCK.exists() else {"stages": {}}
    stages = content["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _md5(path: Path) -> str:
    """Hash a file, or the sorted list of files in a folder, as DVC does."""
    if not path.exists():
        return "missing"
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    rows = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in path.rglob("*")
        if file.is_file()
    ]
    listing = json.dumps(sorted(rows, key=lambda row: row["relpath"]), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
