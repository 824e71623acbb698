"""The model of a device: a new release runs on trial while the last good one is kept.

A trial fails if the model raises an error, exceeds the deadline, or the process dies repeatedly.
The device then returns to the last good release and never runs the failed one again. Without a good
release, it runs the model that was installed with the code.
"""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import RLock

from prometheus_client import Counter, Gauge

from ..artifacts import REFERENCE, SHIPPED
from ..monitoring.live import Monitor
from ..predictor import Prediction, Predictor, Prepared
from ..releases.registry import verify_folder
from ..scope import load_params, load_scope
from ..settings import PACKAGE
from .slots import SLOTS, STATE_PATH, edit_state, read_state

# A trial succeeds after 20 predictions, or after 10 min on a device with few payloads. It tests
# memory, processor and speed; accuracy is covered by the gates. A model that fails on one input in
# seven fails within 20 predictions with a probability of 95 %.
TRIAL_PREDICTIONS = 20
TRIAL_S = 600
# A model that kills the process cannot end its trial, so starts are counted too. One or two may be
# power cuts; after three unfinished starts the trial has failed.
MAX_STARTS = 3
UPDATES = Counter("updates_total", "Update checks and model trials, by outcome", ["outcome"])
CHECKED = Gauge(
    "update_last_success_timestamp_seconds", "Last successful update check, in seconds since 1970"
)


class ModelFailure(Exception):
    """The model failed on a valid payload."""


class MonitoredPredictor(Predictor):
    """A model with its drift window. `trial` is its id while it is on trial, else empty."""

    def __init__(self, model: Path | bytes, reference: Path | bytes, trial: str) -> None:
        super().__init__(model)
        self.trial = trial
        self.prediction_count = 0
        self.monitor = Monitor(self, reference)

    def infer(self, inputs: Prepared) -> Prediction:
        """Run the model once.

        Raises:
            ModelFailure: the model raised an error, or its output is not finite.
        """
        try:
            (result,) = self.predict_batch([inputs])
        except Exception as error:  # the errors of onnxruntime have no common base class
            raise ModelFailure(str(error)) from error
        if isinstance(result, Exception):
            raise ModelFailure(str(result)) from result
        self.prediction_count += 1
        return result


class DeviceModel:
    """Runs the current model, and replaces it when `update` has fetched a newer one.

    `infer` and `poll` may be called from different threads: a new model loads while the old one
    still serves payloads.

    Raises:
        SystemExit: the installed model cannot be loaded either.
    """

    def __init__(self) -> None:
        self._trial = ""
        self._failed = ""  # not tried again, even if the disk was full and state.json is unchanged
        self._state_mtime_ns = 0
        self._next_update_s = 0.0
        self._trial_ends_s = 0.0
        self._deadline_ms = load_scope().deadline_ms
        self._update: subprocess.Popen[bytes] | None = None
        self._lock = RLock()
        self._load()

    def infer(self, inputs: Prepared) -> Prediction:
        """Predict once. If a model on trial fails, the previous model takes over.

        Raises:
            ModelFailure: the model failed, and it was not on trial.
        """
        start_s = time.monotonic()
        predictor = self.predictor  # `poll` may replace it meanwhile
        try:
            prediction = predictor.infer(inputs)
        except ModelFailure as failure:
            if not predictor.trial:
                raise
            self._end_trial(predictor.trial, failure)
            return self.infer(inputs)
        predictor.monitor.observe(prediction)
        took_ms = 1000 * (time.monotonic() - start_s)
        if predictor.trial and took_ms > self._deadline_ms:
            self._end_trial(predictor.trial, ModelFailure(f"a prediction took {took_ms:.0f} ms"))
        elif predictor.trial and predictor.prediction_count >= TRIAL_PREDICTIONS:
            self._end_trial(predictor.trial)
        return prediction

    def poll(self) -> bool:
        """Start an update, load a model that was fetched, and end a trial, each when due.

        Returns whether an update ended or the state changed: the caller then writes the metrics.
        """
        with self._lock:
            update_ended = self._poll_update()
            state_changed = self._reload_if_changed()
            if self._trial and time.monotonic() > self._trial_ends_s:
                self._end_trial(self._trial)
        return update_ended or state_changed

    def stop(self) -> None:
        """Stop a running update. The next one reuses the files that are complete."""
        if self._update:
            self._update.kill()
            self._update.wait()

    def _poll_update(self) -> bool:
        """Start an update process when it is due; return whether one ended."""
        if self._update:
            if self._update.poll() is None:
                return False
            UPDATES.labels("failed" if self._update.returncode else "checked").inc()
            self._update = None
            return True
        params = load_params()
        now_s = time.monotonic()
        if params.update_url and now_s >= self._next_update_s:
            self._next_update_s = now_s + params.update_every_s
            with suppress(OSError):  # no memory for another process: retry at the next interval
                command = [sys.executable, "-m", PACKAGE, "update"]
                self._update = subprocess.Popen(command)  # noqa: S603 (a command of this package)
        return False

    def _reload_if_changed(self) -> bool:
        mtime_ns = 0
        with suppress(OSError):  # there is none yet, or the disk cannot be read
            mtime_ns = STATE_PATH.stat().st_mtime_ns
        if mtime_ns == self._state_mtime_ns:
            return False
        self._state_mtime_ns = mtime_ns
        state = read_state()
        CHECKED.set(state.checked_at)
        if state.trial != self._trial:
            self._load()
        return True

    def _load(self) -> None:
        """Load the model on trial, or else the last good one, or else the installed one."""
        state = read_state()
        self._trial = ""
        if state.trial not in ("", self._failed):
            # Count the start on disk before loading the model, which may kill the process.
            with suppress(OSError):  # on a full disk starts cannot be counted: no trial for now
                with edit_state() as state:
                    state.starts += 1
                self._trial = state.trial
                self._trial_ends_s = time.monotonic() + TRIAL_S
                UPDATES.labels("tried").inc()
        try:
            if self._trial and state.starts > MAX_STARTS:
                raise ModelFailure(f"not finished after {MAX_STARTS} starts")
            self._open(self._trial or state.good)
        except (Exception, SystemExit) as error:  # fall back to another model in any case
            if self._trial:
                self._end_trial(self._trial, error)
                return
            print(f"Using the installed model: {error}", file=sys.stderr, flush=True)
            with suppress(OSError), edit_state() as state:
                state.good = ""  # the next update fetches it again
            self._open("")

    def _open(self, id: str) -> None:
        """Load a release, or the installed model if the id is empty."""
        model: Path | bytes = SHIPPED
        reference: Path | bytes = REFERENCE
        if id:
            release = verify_folder(SLOTS / id)
            model, reference = release.model, release.reference
        self.predictor = MonitoredPredictor(model, reference, self._trial)
        self.predictor.monitor.show()

    def _end_trial(self, id: str, failure: BaseException | None = None) -> None:
        with self._lock:
            if id != self._trial:  # another thread has ended it
                return
            with suppress(OSError):  # on a full disk, `_failed` excludes it until the next start
                with edit_state() as state:
                    is_current = state.trial == id  # `update` may have put a newer one on trial
                    if is_current:
                        state.trial = ""
                        state.starts = 0
                        if not failure:
                            state.good = id
                    if failure:
                        state.bad.append(id)
                UPDATES.labels("returned" if failure else "kept").inc()
                self._trial = "" if is_current else id
            if failure:
                self._failed = id
                print(f"Trial of {id} failed: {failure}", file=sys.stderr, flush=True)
                self._load()
            else:
                self.predictor.trial = self._trial
