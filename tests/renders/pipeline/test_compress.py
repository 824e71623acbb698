"""Selection of a variant in a render: every limit counts, and only the validation split."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from repository import done, run_in

COMPRESS = ("python", "-m", "scratch_detector", "compress")
VARIANTS = {
    "fp32",
    "fp16",
    "int8_weights",
    "int8_dynamic",
    "int8_minmax",
    "int8_entropy",
    "int8_percentile",
    "int8_float_ends",
    "student",
    "student_int8",
    "baseline",
}
TIMED = {"latency_p50_ms", "latency_p95_ms", "peak_memory_mb"}


@pytest.fixture
def project(modelled: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    return folder


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "reports/compress.json").read_text())
    return report


def set_limit(folder: Path, key: str, value: float | str) -> None:
    path = folder / "scope.yaml"
    text, count = re.subn(f"(?m)^({key}:) [^ \n]+", rf"\g<1> {value}", path.read_text())
    assert count == 1
    path.write_text(text)


def edit(folder: Path, name: str, before: str, after: str) -> None:
    path = folder / "src/scratch_detector" / name
    assert path.read_text().count(before) == 1
    path.write_text(path.read_text().replace(before, after))


def only(folder: Path, *names: str) -> None:
    """Limit `compress` to some variants, to save time."""
    few = f"    return {{name: made[name] for name in {names}}}\n"
    edit(folder, "pipeline/compress.py", "    return made\n", few)


def pay_for_size(folder: Path) -> None:
    """Choose by size, as on a device: times differ between runs."""
    edit(folder, "target/keys.py", 'CHEAPEST_BY = "latency_p50_ms"', 'CHEAPEST_BY = "size_mb"')


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """Evaluate the shipped file, and run `check` with the other reports as they are."""
    done(run_in(folder, "python", "-m", "scratch_detector", "evaluate"))
    result = run_in(folder, "python", "-m", "scratch_detector", "check")
    assert "Traceback" not in result.stderr
    return result


def test_a_server_ships_the_fastest_variant_that_meets_all_limits(modelled: Path) -> None:
    report = read_report(modelled)
    rows = report["candidates"]
    assert rows.keys() == VARIANTS
    assert all(
        row[key] >= 0 for row in rows.values() for key in (*TIMED, "size_mb", "agreement")
    ), rows
    fitting = [row["latency_p50_ms"] for row in rows.values() if not row["broken"]]
    assert rows[report["shipped"]]["latency_p50_ms"] <= 1.1 * min(fitting)
    assert (modelled / "models/shipped.onnx").stat().st_size == round(1e6 * report["size_mb"])
    assert (
        rows["student_int8"]["size_mb"]
        < rows["int8_minmax"]["size_mb"]
        < report["candidates"]["fp32"]["size_mb"]
    )


def test_weights_in_int8_answer_as_float32_does(modelled: Path) -> None:
    rows = read_report(modelled)["candidates"]
    weights, static = rows["int8_weights"], rows["int8_minmax"]
    assert weights["size_mb"] < 0.5 * rows["fp32"]["size_mb"]
    assert weights["max_difference"] < static["max_difference"]
    assert weights["batch_gap"] < 1e-5


@pytest.mark.long
def test_the_baseline_is_shipped_if_the_network_is_not_better(project: Path) -> None:
    only(project, "fp32", "int8_minmax", "baseline")
    for key, value in {"min_metric": 0.3, "max_slice_gap": 0.29}.items():
        set_limit(project, key, value)
    done(run_in(project, *COMPRESS))
    assert read_report(project)["shipped"] != "baseline"  # the network is better
    gain = read_report(project)["gain_over_baseline"]
    set_limit(project, "min_gain_over_baseline", round(gain + 0.01, 3))
    printed = done(run_in(project, *COMPRESS))
    assert "Shipped: baseline. " in printed
    assert f"the float32 model gains {gain:.4g} over it (min_gain_over_baseline: " in printed
    checked = check(project)
    assert checked.returncode == 0, checked.stderr
    assert "pass  shipped model is worse than the baseline" in checked.stdout
    steps = "from scratch_detector.cli import run; [run(n) for n in ('report', 'card')]"
    done(run_in(project, "python", "-c", steps))
    assert (
        "The linear baseline, shipped as ONNX: the model of"
        in (project / "docs/card.md").read_text()
    )
    decide = "from scratch_detector.predictor import Predictor; import sys;"
    done(run_in(project, "python", "-m", "scratch_detector", "example"))
    (example,) = (project / "data").glob("example.*")
    code = f"{decide} p = Predictor().predict(open('{example}', 'rb').read()); print(p.answer)"
    assert "'label': " in done(run_in(project, "python", "-c", code))
    set_limit(project, "min_metric", 0.99)  # the baseline misses it: the network is judged
    done(run_in(project, *COMPRESS))
    assert read_report(project)["shipped"] != "baseline"


@pytest.mark.long
def test_stricter_limit_selects_another_variant(project: Path) -> None:
    pay_for_size(project)
    done(run_in(project, *COMPRESS))
    before = read_report(project)
    assert before["shipped"] == "student_int8"
    set_limit(project, "min_int8_agreement", 1)
    done(run_in(project, *COMPRESS))
    after = read_report(project)
    assert after["size_mb"] > before["size_mb"]
    assert after["candidates"][after["shipped"]]["same_lower_bound"] == 1
    assert after["candidates"]["student_int8"]["broken"] == ["int8_parity"]


@pytest.mark.long
def test_size_limit_selects_the_variant(project: Path) -> None:
    only(project, "fp32", "int8_minmax")
    sizes_mb = [read_report(project)["candidates"][n]["size_mb"] for n in ("int8_minmax", "fp32")]
    set_limit(project, "max_model_mb", sum(sizes_mb) / 2)
    printed = done(run_in(project, *COMPRESS))
    assert read_report(project)["shipped"] == "int8_minmax" and "misses model_size" in printed
    assert read_report(project)["fits"] is True
    set_limit(project, "max_model_mb", limit_mb := sizes_mb[0] / 2)
    done(run_in(project, *COMPRESS))
    assert (
        read_report(project)["shipped"] == "int8_minmax" and read_report(project)["fits"] is False
    )
    failed = check(project)
    words = f"model_size: {sizes_mb[0]:.4g}, limit <= {limit_mb:g} (scope.yaml: max_model_mb)"
    assert failed.returncode == 1 and words in failed.stderr


def test_rejects_a_model_if_no_variant_meets_all_limits(project: Path) -> None:
    only(project, "fp32", "int8_minmax")
    limits = {"min_metric": 0.9999, "max_slice_gap": 0, "max_model_mb": 1e-6}
    for key, value in limits.items():
        set_limit(project, key, value)
    set_limit(project, "decider", "ana@example.com")
    printed = done(run_in(project, *COMPRESS))
    assert "No variant meets all limits; the closest, int8_minmax, misses " in printed
    failed = check(project)
    assert failed.returncode == 1
    assert "Limits not met (changing one needs review by ana@example.com):" in failed.stderr
    for gate in ("quality", "worst_slice", "model_size"):
        assert f"\n  {gate}: " in failed.stderr
    assert "would fit" not in printed + failed.stderr
    done(run_in(project, "python", "-m", "scratch_detector", "card"))
    release = run_in(project, "python", "-m", "scratch_detector", "release")
    assert release.returncode == 1 and "\n  model_size: " in release.stderr
    assert not list((project / "releases").glob("*/manifest.json"))


def test_does_not_ship_an_untrained_student(project: Path) -> None:
    only(project, "fp32", "student", "student_int8")
    edit(
        project,
        "pipeline/distill.py",
        "    fit(network, training, validation",
        "    (network, training, validation",
    )
    edit(project, "pipeline/distill.py", ', "Distilling", criterion=distillation_loss)', ")")
    done(run_in(project, *COMPRESS))
    rows = read_report(project)["candidates"]
    assert read_report(project)["shipped"] == "fp32"
    for name in ("student", "student_int8"):
        assert {"quality", "int8_parity", "int8_drop"} <= set(rows[name]["broken"])


def test_compress_works_without_a_student(project: Path) -> None:
    edit(project, "task/model.py", "def build_student", "def _another")
    done(run_in(project, *COMPRESS))
    assert read_report(project)["candidates"].keys() == VARIANTS - {"student", "student_int8"}


SWAP = """
import numpy as np
from scratch_detector.artifacts import FEATURES
with np.load(FEATURES) as data: arrays = dict(data)
rows = arrays["split"] == "test"
arrays["y"][rows], arrays["x"][rows] = 1 - arrays["y"][rows], 0
FEATURES.unlink()
np.savez(FEATURES, **arrays)
"""


def test_compress_ignores_the_test_split(project: Path) -> None:
    def figures() -> dict[str, Any]:
        rows = read_report(project)["candidates"].items()
        return {name: {k: v for k, v in row.items() if k not in TIMED} for name, row in rows}

    before = figures()
    done(run_in(project, "python", "-c", SWAP))
    done(run_in(project, *COMPRESS))
    assert figures() == before


TIMES = """
from scratch_detector.pipeline import compress
memory = {"latency_p95_ms": 3.0, "peak_memory_mb": 80.0}
compress.footprint = lambda path: memory | {"latency_p50_ms": 2.0 if "int8" in path.stem else 1.0}
compress.compress()
"""


def test_table_shows_smaller_variants_that_are_not_faster(project: Path) -> None:
    pay_for_size(project)
    only(project, "fp32", "fp16", "int8_minmax")
    printed = done(run_in(project, "python", "-c", TIMES)).splitlines()
    lines = {line.split()[0]: line for line in printed if line.strip()}
    assert lines["int8_minmax"].rstrip().endswith("shipped; smaller, not faster")
    assert lines["fp16"].rstrip().endswith("fits")
