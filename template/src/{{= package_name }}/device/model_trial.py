"""The model that a device answers with: a newer one is on trial first, and the last good one stays.

Before any release is good, and when none can be loaded, the model installed with the code answers.
"""

import subprocess
import sys
import time
from contextlib import suppress
from threading import RLock

from prometheus_client import Counter, Gauge

from ..artifacts import REFERENCE, SHIPPED
from ..predictor import Prediction, Prepared
from ..releases.registry import examined
from ..scope import load_params, load_scope
from ..settings import PACKAGE
from .slots import SLOTS, STATE, changing, read_state
from .tried import Failed, Tried

TRIAL_ANSWERS, TRIAL_S = 20, 600  # whichever comes first ends a trial well
MAX_STARTS = 3  # of one trial: each crash, kill and power cut takes one
UPDATES = Counter("updates_total", "Looks for a newer model, and trials of one", ["outcome"])
CHECKED = Gauge("update_last_success_timestamp_seconds", "When the newest model was last known")


class Answering:
    """The model that answers, and the process that looks for a newer one.

    One thread may ask for answers while another follows: a model is loaded beside the old one.

    Raises:
        SystemExit: not even the installed model can be loaded.
    """

    def __init__(self) -> None:
        self._trial, self._failed, self._seen_ns = "", "", 0
        self._due_s = self._trial_ends_s = 0.0
        self._late_ms = load_scope().deadline_ms
        self._look: subprocess.Popen[bytes] | None = None
        self._lock = RLock()
        self._load()

    def answer(self, inputs: Prepared) -> Prediction:
        """Answer once; a model on trial that fails or is late goes, once and for all.

        Raises:
            Failed: the model has no answer, and it is not on trial.
        """
        start_s, predictor = time.monotonic(), self.predictor
        try:
            prediction = predictor.answer(inputs)
        except Failed as failure:
            if not predictor.trial:
                raise
            self._end_trial(predictor.trial, failure)
            return self.answer(inputs)
        predictor.monitor.observe(prediction)
        took_ms = 1000 * (time.monotonic() - start_s)
        if predictor.trial and took_ms > self._late_ms:
            self._end_trial(predictor.trial, Failed(f"an answer took {took_ms:.0f} ms"))
        elif predictor.trial and predictor.answered >= TRIAL_ANSWERS:
            self._end_trial(predictor.trial)
        return prediction

    def follow(self) -> bool:
        """Look for a newer model when it is time, follow `state.json`, and say if there is news."""
        with self._lock:
            looked, followed = self._looked(), self._followed()
            if self._trial and time.monotonic() > self._trial_ends_s:
                self._end_trial(self._trial)
        return looked or followed

    def stop(self) -> None:
        """End a look for a newer model; the next one goes on where this one was."""
        if self._look:
            self._look.kill()
            self._look.wait()

    def _looked(self) -> bool:
        params, look, now_s = load_params(), self._look, time.monotonic()
        if look and look.poll() is not None:
            UPDATES.labels("failed" if look.returncode else "checked").inc()
            self._look = None
        elif params.update_url and not look and now_s >= self._due_s:
            self._due_s = now_s + params.update_every_s
            with suppress(OSError):  # no memory for another process: later, then
                command = [sys.executable, "-m", PACKAGE, "update"]
                self._look = subprocess.Popen(command)  # noqa: S603 (our own)
        return look is not None and self._look is None

    def _followed(self) -> bool:
        seen_ns = STATE.stat().st_mtime_ns if STATE.exists() else 0
        if seen_ns == self._seen_ns:
            return False
        self._seen_ns, state = seen_ns, read_state()
        CHECKED.set(state.checked_at)
        if state.trial != self._trial:
            self._load()
        return True

    def _load(self) -> None:
        """Load the model on trial, else the last good one, else the installed one."""
        state, self._trial = read_state(), ""
        if state.trial not in ("", self._failed):
            with suppress(OSError):  # a full disk cannot count starts: no trial now
                with changing() as state:
                    state.starts += 1
                self._trial, self._trial_ends_s = state.trial, time.monotonic() + TRIAL_S
                UPDATES.labels("tried").inc()
        id = self._trial or state.good
        try:
            if self._trial and state.starts > MAX_STARTS:
                raise Failed(f"its trial was not over after {MAX_STARTS} starts")
            self._use(id)
        except (Exception, SystemExit) as error:  # whatever it is, another model is there
            if self._trial:
                return self._end_trial(self._trial, error)
            print(f"Back to the installed model: {error}", file=sys.stderr, flush=True)
            with suppress(OSError), changing() as state:  # so that it is fetched anew
                state.good = ""
            self._use("")

    def _use(self, id: str) -> None:
        model, reference = SHIPPED, REFERENCE
        if id:
            folder = examined(SLOTS / id).folder
            model, reference = folder / "model.onnx", folder / "reference.json"
        self.predictor = Tried(model, reference, self._trial)
        self.predictor.monitor.show()

    def _end_trial(self, tried: str, failure: BaseException | None = None) -> None:
        with self._lock:
            if tried != self._trial:  # another thread was first
                return
            with suppress(OSError):  # what a full disk does not take is known until the next start
                with changing() as state:
                    if mine := state.trial == tried:
                        state.trial, state.starts = "", 0
                        state.good = state.good if failure else tried
                    if failure:
                        state.bad.append(tried)
                UPDATES.labels("returned" if failure else "kept").inc()
                self._trial = "" if mine else tried
            if failure:
                self._failed = tried
                print(f"Back from {tried}: {failure}", file=sys.stderr, flush=True)
                self._load()
            else:
                self.predictor.trial = self._trial
