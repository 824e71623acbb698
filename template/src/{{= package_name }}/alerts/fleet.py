"""When a device needs somebody: rules over what the collector shows."""

from ..scope import Scope
from .due import retrain_due
from .rules import Rule, alert

STEADY_S = 300  # one slow or odd report calls nobody
DEVICE = "{{ $labels.device }}"


def rules(scope: Scope) -> list[Rule]:
    """Return the alerts about devices, and one for when none could come, by whoever watches them.

    Raises:
        SystemExit: the scope has no `fleet`.
    """
    if not (fleet := scope.fleet):
        raise SystemExit("scope.yaml has no `fleet:`. `make upgrade` brings its keys.")
    silent_s, stale_s = fleet.max_silence_s, 86400 * fleet.max_staleness_days
    slow_ms, free_bytes = scope.max_latency_p95_ms, 1e6 * fleet.min_disk_free_mb
    return [
        alert(
            "CollectorDown",
            'up{job="collector"} == 0 or absent(up{job="collector"})',
            "page",
            "The collector shows nothing, so that no device can be missed.",
            "collector-down",
            silent_s,
        ),
        alert(
            "DeviceSilent",
            f"time() - device_last_seen_timestamp_seconds > {silent_s}",
            "page",
            f"{DEVICE} has not reported for {{{{ $value | humanizeDuration }}}}.",
            "device-silent",
        ),
        alert(
            "DeviceDroppedDecisions",
            "increase(device_outbox_dropped[1h]) > 0",
            "page",
            f"{DEVICE} drops decisions: its outbox is full.",
            "outbox-full",
        ),
        alert(
            "DeviceStale",
            f"time() - device_model_current_timestamp_seconds > {stale_s}",
            "ticket",
            f"The model of {DEVICE} may be {{{{ $value | humanizeDuration }}}} old.",
            "device-stale",
        ),
        alert(
            "DeviceDrifting",
            f"device_drift_score_max > {scope.watch.max_drift_score}",
            "ticket",
            f"What {DEVICE} sees has left its reference.",
            "drift",
            STEADY_S,
        ),
        alert(
            "DeviceSlow",
            f"device_latency_p95_ms > {slow_ms}",
            "ticket",
            f"{DEVICE} takes {{{{ $value | humanize }}}} ms (p95), more than is promised.",
            "device-slow",
            STEADY_S,
        ),
        alert(
            "DeviceDiskFull",
            f"device_disk_free_bytes < {free_bytes}",
            "ticket",
            f"{DEVICE} has {{{{ $value | humanize }}}}B of disk left.",
            "disk-full",
        ),
        retrain_due(scope.watch, "fleet", "DeviceDrifting"),
    ]
