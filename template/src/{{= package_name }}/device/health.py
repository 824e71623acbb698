"""The health of a device: its telemetry, and the limits of `scope.yaml` that it exceeds now."""

import time
from typing import Any

from ..scope import load_params, load_scope
from .decide import Decider
from .outbox import Outbox
from .retry import ended_threads
from .uploader import Uploader, read_telemetry
from .wire_format import Telemetry

MIN_TIMED = 20  # decisions; the p95 of fewer is the time of the slowest one


def read_health(decider: Decider, outbox: Outbox, uploader: Uploader) -> tuple[int, dict[str, Any]]:
    """Return an HTTP status and the content of `/healthz`.

    The status is 503 if the model hangs or a thread has ended, because then the loop has to be
    restarted. `problems` also lists everything else that needs attention, by the name of its alert.
    """
    is_hanging = decider.is_hanging()
    telemetry = read_telemetry(outbox, decider.recent_ms)
    is_timed = len(decider.recent_ms) >= MIN_TIMED
    problems = _exceeded_limits(telemetry, uploader.silent_s(), is_timed)
    if outbox.dropped_now:
        problems.append(f"DeviceDroppedDecisions: {outbox.dropped_now} since the loop started")
    if outbox.in_memory:
        problems.append("DeviceFaults: the outbox cannot be written; decisions are in memory only")
    elif telemetry.faults:
        problems.append(f"DeviceFaults: {telemetry.faults} since the loop started, see its log")
    if ended := ended_threads():
        problems.append(f"threads have ended: {', '.join(ended)}")
    if is_hanging:
        problems.append(f"the model has been busy with one payload for over {decider.hang_s:g} s")
    health = {"status": "attention" if problems else "ok", "problems": problems}
    return 503 if is_hanging or ended else 200, health | telemetry.model_dump(
        exclude={"run", "number"}
    )


def _exceeded_limits(telemetry: Telemetry, silent_s: float, is_timed: bool) -> list[str]:
    scope = load_scope()
    p95_ms = telemetry.latency_p95_ms if is_timed else None
    current_s = telemetry.model_current_timestamp_seconds
    observed = {
        "DeviceSlow": (p95_ms, scope.max_latency_p95_ms, "ms p95 latency"),
        "DeviceDrifting": (telemetry.drift_score_max, scope.watch.max_drift_score, "drift score"),
    }
    if limits := scope.fleet:
        age_days = (time.time() - current_s) / 86400 if current_s else None
        stale = (age_days, limits.max_staleness_days, "days since the last update check")
        silent = (silent_s, limits.max_silence_s, "s since the last confirmed upload")
        observed["DeviceStale"] = stale
        if load_params().upload_url:
            observed["DeviceSilent"] = silent
    problems = [
        f"{alert}: {value:.4g} {what}, limit {limit:g}"
        for alert, (value, limit, what) in observed.items()
        if value is not None and value > limit
    ]
    free_mb = telemetry.disk_free_bytes / 1e6
    if limits and free_mb < limits.min_disk_free_mb:
        problems.append(f"DeviceDiskFull: {free_mb:.4g} MB free, limit {limits.min_disk_free_mb:g}")
    return problems
