"""One look for a newer model: fetched, verified and tested, or left alone.

Whoever serves the files is not trusted: The Update Framework (https://theupdateframework.io)
refuses what is altered, foreign, older than what was seen before, expired, or endless.
"""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from ..artifacts import move_whole
from ..monitoring.live import Monitor
from ..predictor import Predictor
from ..releases.registry import FILES, examined
from ..scope import load_params, load_scope
from .slots import SLOTS, alone, changing, read_state

KEYS = Path("keys")
TUF, DRAFTS = SLOTS / "tuf", SLOTS / "drafts"
CONTENT = (*FILES, "manifest.json", "manifest.dsse")
MAX_OTHER_MB = 5  # each file of a release but the model
MEND = "What to do: docs/runbook.md#model-update"


def newest(folder: Path, role: str) -> Path | None:
    """Return the metadata file of a role that has the highest version, which its name tells."""
    found = folder.glob(f"[1-9]*.{role}.json")
    return max(found, key=lambda path: int(path.name.partition(".")[0]), default=None)


def update() -> None:
    """Look once at `update_url`; what is newer than the model in use goes on trial.

    Ends after `update_every_s` at the latest; the next look goes on with the files that are whole.

    Raises:
        SystemExit: nobody answers there, or what is there is refused; why is said.
    """
    params, root = load_params(), newest(KEYS, "root")
    if not params.update_url or not root:
        raise SystemExit(f"Needs update_url in params.yaml, and keys/1.root.json. {MEND}")
    os.nice(10)  # decisions come first
    signal.alarm(params.update_every_s)
    url = params.update_url.rstrip("/")
    try:
        with alone("update"):
            for draft in TUF.glob("tmp*"):  # of whoever was killed while writing
                draft.unlink()
            urls, trust = (f"{url}/metadata", None, f"{url}/targets"), root.read_bytes()
            _follow(Updater(str(TUF), *urls, bootstrap=trust))
    except (Exception, SystemExit) as error:  # those of tuf, urllib3, onnxruntime share no base
        name = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
        raise SystemExit(f"No update from {url}. {name}{error} {MEND}") from None


def _follow(updater: Updater) -> None:
    files = {name: updater.get_targetinfo(name) for name in CONTENT}
    found = {name: file for name, file in files.items() if file}
    if missing := files.keys() - found.keys():
        raise SystemExit(f"It has no {', '.join(sorted(missing))}.")
    id, state = found["manifest.json"].hashes["sha256"][:12], read_state()
    if id not in (state.good, state.trial, *state.bad):
        _fetch(updater, id, found)
    with changing() as state:
        state.checked_at = time.time()
        if id == state.good:  # what is on trial was taken back
            state.trial = ""
        elif id not in (state.trial, *state.bad):
            state.trial, state.starts = id, 0


def _fetch(updater: Updater, id: str, files: dict[str, TargetFile]) -> None:
    """Put a release whole into a folder of its own, once everything about it holds."""
    limits_mb = {"model.onnx": load_scope().max_model_mb}
    for name, file in files.items():
        if file.length > (limit_mb := limits_mb.get(name, MAX_OTHER_MB)) * 1e6:
            raise SystemExit(f"{name} has {file.length / 1e6:.3g} MB, more than {limit_mb:g}.")
    state, draft = read_state(), DRAFTS / id
    for folder in [*SLOTS.glob("[0-9a-f]" * 12), *DRAFTS.glob("*")]:
        if folder not in (SLOTS / state.good, SLOTS / state.trial, draft):
            shutil.rmtree(folder)
    draft.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        if not updater.find_cached_target(file, str(draft / name)):
            updater.download_target(file, str(draft / name))
    _test(draft)
    for path in (*draft.iterdir(), draft):
        on_disk = os.open(path, os.O_RDONLY)
        os.fsync(on_disk)
        os.close(on_disk)
    move_whole(draft, SLOTS / id)


def _test(folder: Path) -> None:
    """Hold a release against its signature and its gates, and let it answer once."""
    examined(folder)
    predictor = Predictor(folder / "model.onnx")
    monitor = Monitor(predictor, folder / "reference.json")
    for payload in Path("data").glob("example.*"):  # `make example` writes one
        monitor.observe(predictor.predict(payload.read_bytes()))
    zeros = np.zeros((1, *predictor.input_shape), np.float32)
    if not np.isfinite(predictor.probabilities(zeros)).all():
        raise SystemExit(f"{folder / 'model.onnx'} answers zeros with what is no number.")
