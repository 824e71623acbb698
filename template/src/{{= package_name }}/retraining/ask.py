"""The two services that are asked: Prometheus why to retrain, GitHub for a pull request."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from ..settings import ProjectSettings, variable

TIMEOUT_S = 30
FIRING = 'ALERTS{alertstate="firing"}'
NEEDS = """403: the job lacks `pull-requests: write`, or the repository the setting "Allow GitHub
Actions to create and approve pull requests" (Settings, Actions, General)."""


def firing() -> Counter[str]:
    """Return the names of the alerts that are firing, each with the number of its series.

    Raises:
        SystemExit: there is no Prometheus at `<PACKAGE>_PROMETHEUS_URL`.
    """
    url, name = ProjectSettings.read().prometheus_url, variable("PROMETHEUS_URL")
    try:
        found = _asked(f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': FIRING})}")
        return Counter(series["metric"]["alertname"] for series in found["data"]["result"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        mend = f"Set {name}, like http://127.0.0.1:9090, or run `make retrain FORCE=1`."
        raise SystemExit(f"No Prometheus at {url!r} ({error}). {mend}") from None


def has_github() -> bool:
    """Tell whether the variables are set with which GitHub is asked."""
    return bool(os.environ.get("GITHUB_TOKEN") and os.environ.get("GITHUB_REPOSITORY"))


def pulls(content: dict[str, str] | None = None, **query: str) -> Any:
    """Return the latest hundred pull requests that match; or open one with such content.

    Raises:
        SystemExit: GitHub refuses; its words are repeated.
    """
    api = os.environ.get("GITHUB_API_URL", "https://api.github.com")
    url = f"{api}/repos/{os.environ['GITHUB_REPOSITORY']}/pulls"
    query |= {} if content else {"per_page": "100"}
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}"}
    try:
        return _asked(f"{url}?{urlencode(query)}", headers, content)
    except (OSError, ValueError) as error:
        said = error.read().decode(errors="replace") if isinstance(error, HTTPError) else ""
        raise SystemExit(f"GitHub refuses: {error} {said}\n{NEEDS}") from None


def _asked(url: str, headers: Mapping[str, str] = {}, content: object = None) -> Any:
    data = json.dumps(content).encode() if content else None
    request = Request(url, data, dict(headers))  # noqa: S310 (the owner's own settings)
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        return json.load(response)
