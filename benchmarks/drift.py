"""Measure false alarms, power and cost of the drift monitor.

For each modality: run the pipeline up to `evaluate`, then send payloads of other seeds, unchanged
and with planted shifts, through `Predictor` and `Monitor`. Windows are drawn from the recorded
signals; a window alarms if any signal exceeds its threshold. Two-sample Kolmogorov-Smirnov and
chi-squared tests (scipy; the latter with the bins of the monitor) get the same signals and windows,
at the same rate of false alarms with Bonferroni correction. Times are the fastest of 300 rounds.
"""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.progress import Progress
from scipy import stats

import measure

PAYLOADS, CLEAN_WINDOWS, SHIFTED_WINDOWS = 6000, 400, 100
SIZES = (100, 250, 1000)
STAGES = ["ingest", "validate", "featurize", "train", "export", "compress"]
GOALS = {"false_alarm_rate": 0.01, "request_us": 30, "scrape_us": 200}
Signals = dict[str, np.ndarray]


def record_signals(folder: Path, place: Path) -> tuple[dict[str, Signals], dict[str, Any]]:
    """Return the signals of each case, one value per payload (n,), and the cost of monitoring."""
    python, env = place / "bin" / "python", measure.variables(folder, place)
    measure.run([python, measure.INSIDE / "run_stages.py", measure.PACKAGE, *STAGES], folder, env)
    script, out = measure.INSIDE / "drift.py", folder / "signals.npz"
    command = [python, script, measure.PACKAGE, out, str(PAYLOADS)]
    result = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"inside/drift.py failed for {folder.name}, see above")
    cases: dict[str, Signals] = {}
    with np.load(out) as arrays:
        for key in arrays:
            case, name = key.rsplit("/", 1)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases, json.loads(result.stdout.splitlines()[-1])


def ours(window: Signals, reference: Any) -> bool:
    """Whether the drift monitor alarms."""
    live = drift.LiveWindow(reference)
    names = list(window)
    for values in zip(*(window[name].tolist() for name in names), strict=True):
        live.add(dict(zip(names, values, strict=True)))
    return max(live.score(name) for name in names) > 1


def kolmogorov_smirnov(window: Signals, usual: Signals, rate: float) -> bool:
    """Whether the test rejects any signal; missing values are left out."""
    return any(
        stats.ks_2samp(usual[name], values[~np.isnan(values)], method="asymp").pvalue
        < rate / len(window)
        for name, values in window.items()
    )


def chi_squared(window: Signals, usual: Signals, reference: Any, rate: float) -> bool:
    """Whether the test rejects any signal; missing values have their own bin."""
    return any(
        _chi_squared(usual[name], values, reference.signals[name].edges) < rate / len(window)
        for name, values in window.items()
    )


def _chi_squared(usual: np.ndarray, lately: np.ndarray, edges: list[float]) -> float:
    rows = []
    for values in (usual, lately):
        bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, "right"))
        rows.append(np.bincount(bins, minlength=len(edges) + 2))
    counts = np.array(rows)[:, sum(rows) > 0]
    return float(stats.chi2_contingency(counts).pvalue) if counts.shape[1] > 1 else 1.0


def alarms(case: Signals, usual: Signals, size: int, windows: int, rate: float) -> list[float]:
    """Return the share of windows in which each of the three methods alarms."""
    reference = fitting.fit_reference(usual, size, rate)
    rng, verdicts = np.random.default_rng(size), []
    for _ in range(windows):
        rows = rng.choice(len(next(iter(case.values()))), size, replace=False)
        window = {name: values[rows] for name, values in case.items()}
        row = [ours(window, reference), kolmogorov_smirnov(window, usual, rate)]
        verdicts.append([*row, chi_squared(window, usual, reference, rate)])
    return np.mean(verdicts, axis=0).tolist()


figures: dict[str, Any] = {"goals": GOALS}
table, costs, estimates = [], [], []
with measure.workspace() as work, Progress(console=measure.console) as progress:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        folder = measure.render(source, work / modality, modality=modality)
        place = measure.training(folder)
        task = progress.add_task(modality, total=None)
        cases, cost = record_signals(folder, place)
        sys.path.insert(0, str(folder / "src"))
        # These modules are the same in all three renders.
        drift = import_module(f"{measure.PACKAGE}.monitoring.drift")
        fitting = import_module(f"{measure.PACKAGE}.pipeline.reference")
        rate = yaml.safe_load((folder / "params.yaml").read_text())["drift_false_alarm_rate"]
        usual, power = cases.pop("usual"), {}
        progress.update(task, total=len(cases) * len(SIZES))
        for name, case in cases.items():
            windows = CLEAN_WINDOWS if name == "none" else SHIFTED_WINDOWS
            power[name] = {}
            for size in SIZES:
                shares = alarms(case, usual, size, windows, rate)
                power[name][size] = dict(zip(("ours", "ks", "chi2"), shares, strict=True))
                progress.advance(task)
            cells = [
                " / ".join(f"{100 * v:.3g}" for v in row.values()) for row in power[name].values()
            ]
            table.append([f"{modality}: {name}", *cells])
        figures[modality] = {"alarms": power, "signals": len(usual)} | cost
        numbers = [f"{cost[key]:.3g}" for key in ("request_us", "scrape_us", "window_kb")]
        costs.append([modality, str(len(usual)), *numbers])
        for name, pair in cost["accuracy"].items():
            estimates.append([f"{modality}: {name}", *(f"{value:.3f}" for value in pair)])

headings = ["us per request (goal 30)", "us per scrape (goal 200)", "kB per window"]
measure.show("Cost of the drift monitor", [["", "signals", *headings], *costs])
headings = ["planted shift", "accuracy", "estimated without labels"]
measure.show("Average thresholded confidence", [headings, *estimates])
title = "Windows that alarm, %: ours / Kolmogorov-Smirnov / chi-squared; goal without shift: <= 1"
rows = [["planted shift", *(f"window of {size}" for size in SIZES)], *table]
measure.report(title, rows, figures, CLEAN_WINDOWS, place)
