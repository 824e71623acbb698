"""What a running model says about itself, read back; light, because a rollback must not wait."""

from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from ..scope import load_params
from ..settings import ProjectSettings


def scraped(name: str, label: str) -> dict[str, float]:
    """Read a metric of the running model, by its label; `metrics_url` says where that is.

    Raises:
        SystemExit: no model answers there.
    """
    url = address()
    try:
        with urlopen(url, timeout=10) as response:  # noqa: S310 (the owner's own setting)
            text = response.read().decode()
    except (URLError, OSError) as error:
        raise SystemExit(f"No metrics at {url} ({error}). Start the model first.") from None
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return {sample.labels[label]: sample.value for sample in samples if sample.name == name}


def address() -> str:
    """Return `<PACKAGE>_METRICS_URL`, or else `metrics_url` of params.yaml."""
    return ProjectSettings.read().metrics_url or load_params().metrics_url
