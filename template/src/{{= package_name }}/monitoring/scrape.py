"""Reads the metrics of a running model.

This module imports little, because `rollback` uses it and must start fast.
"""

import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener, url2pathname

from prometheus_client.parser import text_string_to_metric_families

from ..scope import load_params
from ..settings import ProjectSettings

TIMEOUT_S = 10  # a scrape takes milliseconds, and Prometheus gives up after 10 s by default


def read_metric(name: str, label: str) -> dict[str, float]:
    """Return the values of a metric, by the values of one label.

    Raises:
        SystemExit: the metrics cannot be read.
    """
    url = metrics_url()
    try:
        with _opener(url).open(url, timeout=TIMEOUT_S) as response:
            text = response.read().decode()
    except (URLError, OSError) as error:
        raise SystemExit(f"No metrics at {url} ({error}). Start the model first.") from None
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return {sample.labels.get(label, ""): sample.value for sample in samples if sample.name == name}


def _opener(url: str) -> OpenerDirector:
    """Return an opener that uses the proxies of the environment, but not for this machine."""
    host = urlsplit(url).hostname or ""
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    return build_opener(ProxyHandler({} if is_local else None))


def metrics_url() -> str:
    """Return the address of the metrics of the running model."""
    return ProjectSettings.read().metrics_url or load_params().metrics_url


def metrics_age_s() -> float | None:
    """Return the seconds since the metrics were written, if they are a file."""
    address = urlsplit(metrics_url())
    if address.scheme != "file":
        return None
    return time.time() - Path(url2pathname(address.path)).stat().st_mtime
