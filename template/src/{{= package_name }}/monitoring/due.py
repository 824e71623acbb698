"""The command `due`: whether the alerts ask for a new model.

It needs no package for training, so that a job that asks every hour installs little.
"""

import json
import os
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from ..settings import ProjectSettings, variable

DUE = "RetrainDue"
FIRING = 'ALERTS{alertstate="firing"}'
TIMEOUT_S = 30


def due(reason: str = "") -> None:
    """Print whether a candidate is due: if the alert `RetrainDue` fires, or for a given reason.

    In GitHub Actions, this also sets the output `due`.

    Raises:
        SystemExit: Prometheus does not answer at `<PACKAGE>_PROMETHEUS_URL`.
    """
    is_due = bool(reason or alerts_if_due())
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a") as file:
            file.write(f"due={str(is_due).lower()}\n")


def alerts_if_due() -> str:
    """Print the firing alerts; return their names if a candidate is due, or an empty string.

    Raises:
        SystemExit: Prometheus does not answer at `<PACKAGE>_PROMETHEUS_URL`.
    """
    alerts = firing_alerts()
    names = ", ".join(f"{name} ({n})" for name, n in sorted(alerts.items())) or "none"
    print(f"Firing alerts: {names}.")
    if DUE in alerts:
        return names
    print(f"{DUE} does not fire: nothing to do.")
    return ""


def firing_alerts() -> Counter[str]:
    """Return the names of the firing alerts, each with the number of its series.

    Raises:
        SystemExit: Prometheus does not answer at `<PACKAGE>_PROMETHEUS_URL`.
    """
    url = ProjectSettings.read().prometheus_url
    name = variable("PROMETHEUS_URL")
    query = f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': FIRING})}"
    try:
        with urlopen(query, timeout=TIMEOUT_S) as response:  # noqa: S310 (the owner's setting)
            answer = json.load(response)
        return Counter(series["metric"]["alertname"] for series in answer["data"]["result"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = f"Set {name}, for example to http://127.0.0.1:9090, or add FORCE=1."
        raise SystemExit(f"No Prometheus at {url!r} ({error}). {remedy}") from None
