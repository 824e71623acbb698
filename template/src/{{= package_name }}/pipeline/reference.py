"""Fit the drift reference: distributions of inputs and predictions at training time.

`monitoring/drift.py` compares live predictions with it.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import chi2
from sklearn.decomposition import PCA

from ..artifacts import REFERENCE, SHIPPED
from ..monitoring.drift import Reference, Signal, Whitening
from ..predictor import Predictor
from ..problem import metrics
from ..problem.answer import signals as answer_signals
from ..scope import load_params
from .splits import load_facts, load_split, require_head

# Ten bins show changes of shape. With more bins, a shift must be larger to stand out from noise.
BINS = 10
# A few directions hold most of the variance of an embedding, and each additional signal raises the
# thresholds of all others.
COMPONENTS = 6
# Directions with less variance, relative to the first, are rounding errors of float32.
MIN_RELATIVE_VARIANCE = 1e-6


def save_reference(shipped: Predictor) -> None:
    """Write `models/reference.json`.

    Facts come from the training split, predictions from the other two: models are more confident
    on their training examples.
    """
    require_head(SHIPPED, shipped.head)
    params, held_out = load_params(), [load_split(split)[:2] for split in ("validation", "test")]
    x, truth = (np.concatenate(arrays) for arrays in zip(*held_out, strict=True))
    outputs, embedding = shipped.run(x)
    facts = load_facts("train")
    signals = answer_signals(outputs, shipped.head)
    _, trained_on = shipped.run(load_split("train")[0])
    whitening = None if trained_on is None else fit_whitening(trained_on)
    if whitening and embedding is not None:
        signals |= whitening.apply(embedding)
    if taken := sorted(facts.keys() & signals.keys()):
        raise SystemExit(f"Inputs have names of drift signals: {', '.join(taken)}. Rename them.")
    reference = fit_reference(facts | signals, params.drift_window, params.drift_false_alarm_rate)
    threshold = metrics.fit_confidence_threshold(truth, outputs)
    more = {"whitening": whitening, "sure_from": threshold, "labels": shipped.head.names}
    REFERENCE.write_text(reference.model_copy(update=more).model_dump_json() + "\n")


def fit_reference(
    values: Mapping[str, np.ndarray], window: int, false_alarm_rate: float
) -> Reference:
    """Fit the histogram and thresholds of each signal from float arrays of shape (examples,).

    Without drift, the PSI of a full window is distributed like (1/window + 1/examples) times
    chi-squared (Yurdakul and Naranjo 2020, "Statistical properties of the population stability
    index"). Signals share `false_alarm_rate` equally: it holds for all of them together, per full
    window.
    """
    # Half of the share of a signal is for all bins together, half for the cuts between them.
    rate = false_alarm_rate / len(values) / 2
    signals = {}
    for name, observed in values.items():
        is_missing = ~np.isfinite(observed)
        edges = _edges(observed[~is_missing])
        bins = np.searchsorted(edges, observed, "right")
        bins[is_missing] = len(edges) + 1
        counts = np.bincount(bins, minlength=len(edges) + 2)
        shares = (counts + 0.5) / (counts + 0.5).sum()
        degrees = max(1, int((counts > 0).sum()) - 1)
        noise = 1 / window + 1 / len(observed)
        signals[name] = Signal(
            edges=edges,
            shares=shares.tolist(),
            threshold=float(noise * chi2.isf(rate, degrees)),
            cut_threshold=float(noise * chi2.isf(rate / (len(edges) + 1), 1)),
        )
    return Reference(window=window, signals=signals)


def fit_whitening(embeddings: np.ndarray) -> Whitening | None:
    """Fit the first principal components of embeddings, float32 (examples, width).

    Rows that are not finite are skipped: a gate rejects a broken model later. None if fewer than
    two rows remain.
    """
    embeddings = embeddings[np.isfinite(embeddings).all(axis=1)]
    if len(embeddings) < 2:
        return None
    components = min(COMPONENTS, *embeddings.shape)
    with np.errstate(invalid="ignore"):  # constant embeddings have no variance
        pca = PCA(components, svd_solver="full").fit(embeddings.astype(np.float64))
    variance = pca.explained_variance_
    is_kept = variance > MIN_RELATIVE_VARIANCE * variance[0]
    rows = (pca.components_[is_kept].T / np.sqrt(variance[is_kept])).astype(np.float32)
    return Whitening(rows=rows.tolist(), centre=(pca.mean_ @ rows).tolist())


def _edges(observed: np.ndarray) -> list[float]:
    """Cut at quantiles; a few distinct values get one bin each."""
    distinct = np.unique(observed)
    if len(distinct) > 2 * BINS:
        quantiles = np.quantile(observed, np.linspace(0, 1, BINS + 1)[1:-1])
        return [float(cut) for cut in np.unique(quantiles)]
    if not len(distinct):
        return []
    between = (distinct[1:] + distinct[:-1]) / 2
    # Values outside of the observed range fall beyond the first and the last cut.
    margin = max(1e-6, abs(float(distinct[-1])) * 1e-6)
    return [float(distinct[0]) - margin, *map(float, between), float(distinct[-1]) + margin]
