"""The command `update`: check once for a newer release, verify it and put it on trial.

The web server that holds the files is not trusted. The Update Framework (TUF,
https://theupdateframework.io) rejects files that are altered, signed with unknown keys, older than
files fetched before, expired, or longer than declared.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from ..atomic import replace_durably
from ..monitoring.live import Monitor
from ..predictor import Predictor
from ..releases.registry import SIGNED_FILES, verify_folder
from ..scope import load_params, load_scope
from .slots import SLOTS, edit_state, lock, read_state

KEYS = Path("keys")
TUF = SLOTS / "tuf"
DRAFTS = SLOTS / "drafts"
# The limit of model.onnx is `max_model_mb`. The largest other file, reference.json, takes 15 kB
# with the bundled data: 5 MB leave room for tables with many columns and protect a small disk.
MAX_OTHER_MB = 5
# At niceness 10 of 19, decisions get about nine times the processor time of a concurrent update.
NICENESS = 10
HELP = "What to do: docs/runbook/devices.md#model-update"


def newest_metadata(folder: Path, role: str) -> Path | None:
    """Return the newest metadata file of a TUF role, named `VERSION.ROLE.json`."""
    paths = folder.glob(f"[1-9]*.{role}.json")
    return max(paths, key=lambda path: int(path.name.partition(".")[0]), default=None)


def update() -> None:
    """Check `update_url` once, and put a newer release on trial.

    SIGALRM ends the process after `update_every_s`, when the next check is due; that one reuses the
    files that are complete.

    Raises:
        SystemExit: the server cannot be reached, or its files are rejected.
    """
    params = load_params()
    root = newest_metadata(KEYS, "root")
    if not params.update_url or not root:
        raise SystemExit(f"Set update_url in params.yaml and provide keys/1.root.json. {HELP}")
    os.nice(NICENESS)
    signal.alarm(params.update_every_s)
    url = params.update_url.rstrip("/")
    try:
        with lock("update"):
            for draft in TUF.glob("tmp*"):  # left by a process that was killed during a write
                draft.unlink()
            updater = Updater(
                metadata_dir=str(TUF),
                metadata_base_url=f"{url}/metadata",
                target_base_url=f"{url}/targets",
                bootstrap=root.read_bytes(),
            )
            _follow(updater)
    except (Exception, SystemExit) as error:  # tuf, urllib3 and onnxruntime raise many kinds
        name = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
        raise SystemExit(f"No update from {url}. {name}{error} {HELP}") from None


def _follow(updater: Updater) -> None:
    """Put the published release on trial unless this device has it or rejected it before."""
    targets = {name: updater.get_targetinfo(name) for name in SIGNED_FILES}
    files = {name: file for name, file in targets.items() if file}
    if missing := targets.keys() - files.keys():
        raise SystemExit(f"The repository has no {', '.join(sorted(missing))}.")
    id = files["manifest.json"].hashes["sha256"][:12]
    state = read_state()
    if id not in (state.good, state.trial, *state.bad):
        _fetch(updater, id, files)
    with edit_state() as state:
        state.checked_at = time.time()
        if id == state.good:  # its publisher withdrew the release that is on trial here
            state.trial = ""
        elif id not in (state.trial, *state.bad):
            state.trial = id
            state.starts = 0


def _fetch(updater: Updater, id: str, files: dict[str, TargetFile]) -> None:
    """Download a release into a draft folder, verify it, and move it to its slot."""
    for name, file in files.items():
        limit_mb = load_scope().max_model_mb if name == "model.onnx" else MAX_OTHER_MB
        if file.length > limit_mb * 1e6:
            raise SystemExit(f"{name} has {file.length / 1e6:.3g} MB, limit {limit_mb:g} MB.")
    state = read_state()
    draft = DRAFTS / id
    in_use = (SLOTS / state.good, SLOTS / state.trial, draft)
    for folder in [*SLOTS.glob("[0-9a-f]" * 12), *DRAFTS.glob("*")]:
        if folder not in in_use:
            shutil.rmtree(folder)
    draft.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        if not updater.find_cached_target(file, str(draft / name)):
            updater.download_target(file, str(draft / name))
    _check(draft)
    # Sync before the move: after a power cut, a folder in its slot is complete.
    for path in (*draft.iterdir(), draft):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    replace_durably(draft, SLOTS / id)


def _check(folder: Path) -> None:
    """Verify the signature and gates of a release, and run its model once on this device."""
    release = verify_folder(folder)
    predictor = Predictor(release.model)
    monitor = Monitor(predictor, release.reference)
    for payload in Path("data").glob("example.*"):  # if `make example` wrote one
        monitor.observe(predictor.predict(payload.read_bytes()))
    zeros = np.zeros((1, *predictor.input_shape), np.float32)
    if not np.isfinite(predictor.outputs(zeros)).all():
        raise SystemExit(f"{folder / 'model.onnx'} returns NaN or infinity for an all-zero input.")
