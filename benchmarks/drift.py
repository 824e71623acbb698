"""How often does the drift monitor cry wolf, what does it see, and what does it cost?

For each modality: the road up to `evaluate`, then payloads of other seeds of the sample data, as
they are and with planted shifts, through `Predictor` and `Monitor`. Windows are drawn from what
these saw; a window alarms when any signal is above its line. Two-sample Kolmogorov-Smirnov and
chi-squared tests (scipy; the latter with our bins) judge the same signals and windows, each at the
same rate of false alarms, by Bonferroni's rule. Times are those of the quickest of 300 rounds.
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


def seen(folder: Path, place: Path) -> tuple[dict[str, Signals], dict[str, Any]]:
    """Return each case as the signals of every payload (n,), and what watching costs."""
    python, env = place / "bin" / "python", measure.variables(folder, place)
    measure.run([python, measure.INSIDE / "road.py", measure.PACKAGE, *STAGES], folder, env)
    script, out = measure.INSIDE / "drift.py", folder / "signals.npz"
    command = [python, script, measure.PACKAGE, out, str(PAYLOADS)]
    result = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(f"The traffic failed for {folder.name}, see above")
    cases: dict[str, Signals] = {}
    with np.load(out) as arrays:
        for key in arrays:
            case, name = key.rsplit("/", 1)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases, json.loads(result.stdout.splitlines()[-1])


def ours(window: Signals, reference: Any) -> bool:
    """Say whether the window alarms."""
    live = drift.LiveWindow(reference)
    names = list(window)
    for values in zip(*(window[name].tolist() for name in names), strict=True):
        live.add(dict(zip(names, values, strict=True)))
    return max(live.score(name) for name in names) > 1


def kolmogorov_smirnov(window: Signals, usual: Signals, rate: float) -> bool:
    """Say whether any signal is rejected; what is missing is left out."""
    return any(
        stats.ks_2samp(usual[name], values[~np.isnan(values)], method="asymp").pvalue
        < rate / len(window)
        for name, values in window.items()
    )


def chi_squared(window: Signals, usual: Signals, reference: Any, rate: float) -> bool:
    """Say whether any signal is rejected; what is missing has a bin."""
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
    """Return the share of windows in which each of the three alarms."""
    reference = fitting.fit_reference(usual, size, rate)
    rng, found = np.random.default_rng(size), []
    for _ in range(windows):
        rows = rng.choice(len(next(iter(case.values()))), size, replace=False)
        window = {name: values[rows] for name, values in case.items()}
        verdicts = ours(window, reference), kolmogorov_smirnov(window, usual, rate)
        found.append([*verdicts, chi_squared(window, usual, reference, rate)])
    return np.mean(found, axis=0).tolist()


figures: dict[str, Any] = {"goals": GOALS}
table, costs, estimates = [], [], []
with measure.workspace() as work, Progress(console=measure.console) as progress:
    source = measure.template(work / "template")
    for modality in measure.MODALITIES:
        folder = measure.render(source, work / modality, modality=modality)
        place = measure.training(folder)
        task = progress.add_task(modality, total=None)
        cases, cost = seen(folder, place)
        sys.path.insert(0, str(folder / "src"))
        # The same in all three.
        drift = import_module(f"{measure.PACKAGE}.monitoring.drift")
        fitting = import_module(f"{measure.PACKAGE}.pipeline.reference")
        rate = yaml.safe_load((folder / "params.yaml").read_text())["drift_false_alarm_rate"]
        usual, power = cases.pop("usual"), {}
        progress.update(task, total=len(cases) * len(SIZES))
        for name, case in cases.items():
            windows = CLEAN_WINDOWS if name == "none" else SHIFTED_WINDOWS
            power[name] = {}
            for size in SIZES:
                found = alarms(case, usual, size, windows, rate)
                power[name][size] = dict(zip(("ours", "ks", "chi2"), found, strict=True))
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

headings = ["us a request (goal 30)", "us a scrape (goal 200)", "kB a window"]
measure.show("What watching costs", [["", "signals", *headings], *costs])
headings = ["planted shift", "accuracy", "estimated without labels"]
measure.show("Average thresholded confidence", [headings, *estimates])
title = "Windows that alarm, %: ours / Kolmogorov-Smirnov / chi-squared; goal without a shift: 1"
versions = [["planted shift", *(f"window of {size}" for size in SIZES)], *table]
measure.report(title, versions, figures, CLEAN_WINDOWS, place)
