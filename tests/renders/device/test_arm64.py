"""The arm64 package predicts as on x86. The processors are emulated, so speed is not tested."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Shared
from containers import CACHE
from environment import exclusive_lock
from repository import done, run_in

pytestmark = pytest.mark.matrix
PROCESSORS = ("cortex-a53", "cortex-a72", "cortex-a76")  # of a Raspberry Pi 3, 4 and 5
MIN_QEMU = 10  # 7.2, the version in Debian 12, crashes in onnxruntime
SUITES = ("bookworm", "bookworm-backports")
SOURCES = [f"deb http://deb.debian.org/debian {name} main" for name in SUITES]
SYSTEM = "python3.11-minimal,libpython3.11-stdlib,libstdc++6,libsqlite3-0,libssl3,libffi8,liblzma5"
HELD_OUT = """
import sys
from pathlib import Path
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards, split_of
for e in read_shards(RAW):
    if split_of(e.id) == "test":
        Path(sys.argv[1], e.id.replace("/", "_")).write_bytes(e.payload)
"""
ANSWER = """
import json, platform, sys, time
from pathlib import Path
from scratch_detector.predictor import Predictor, prepare
predictor, rows, times_s = Predictor(), [], []
for path in sorted(Path(sys.argv[1]).iterdir()):
    start_s = time.perf_counter()
    rows.append(predictor.outputs(prepare(path.read_bytes()).x[None])[0].tolist())
    times_s.append(time.perf_counter() - start_s)
median_ms = 1000 * sorted(times_s)[len(rows) // 2]
print(json.dumps({"machine": platform.machine(), "median_ms": median_ms, "rows": rows}))
"""
ALTER = """
import onnx, numpy as np
model = onnx.load("models/shipped.onnx")
floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
for tensor in floats:
    values = onnx.numpy_helper.to_array(tensor) * np.float32(1.05)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
onnx.save(model, "altered.onnx")
"""


def from_debian(name: str, kept: str, *options: str) -> Path:
    """Unpack Debian packages once without running anything, and keep the path `kept`."""
    place = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(CACHE / f"{name}.lock"), tempfile.TemporaryDirectory(dir=CACHE) as part:
        if place.exists():
            return place
        tool = shutil.which("mmdebstrap") or pytest.skip("mmdebstrap is not installed")
        command = [tool, "--quiet", "--variant=extract", *options, "bookworm", f"{part}/{name}"]
        made = subprocess.run([*command, *SOURCES], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"cannot fetch {name} from Debian: {made.stderr[-300:]}")
        Path(part, name, kept).rename(place)
    return place


@pytest.fixture(scope="module")
def qemu() -> str:
    """Return an emulator of the minimum version."""
    path = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not path or version(path) < MIN_QEMU:
        package = "--include=qemu-user/bookworm-backports"
        path = str(from_debian("qemu-aarch64", "usr/bin/qemu-aarch64", package))
    assert version(path) >= MIN_QEMU
    return path


def version(qemu: str) -> int:
    output = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout
    return int(re.findall(r"version (\d+)\.", output)[0])


@pytest.fixture(scope="module")
def payloads(deployable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("payloads")
    done(run_in(deployable, "python", "-c", HELD_OUT, str(folder)))
    return folder


@pytest.fixture(scope="module")
def on_x86(deployable: Path, payloads: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(
        done(run_in(deployable, "python", "-c", ANSWER, str(payloads)))
    )
    assert len(result["rows"]) >= 200
    return result


@pytest.fixture(scope="module")
def home(deployable: Path, shared: Shared) -> Path:
    """Return the unpacked folder in /opt of a device."""

    def pack(folder: Path) -> None:
        done(run_in(folder, "make", "deb", "ARCH=arm64"))
        with tarfile.open(folder / "dist/scratch-detector_0.1.0_arm64.tar.gz") as archive:
            archive.extractall(folder / "device", filter="fully_trusted")

    return shared("packed", deployable, pack) / "device/opt/scratch-detector"


def emulated(qemu: str, processor: str, home: Path, payloads: Path) -> dict[str, Any]:
    """Predict with the code and libraries of the package on an emulated processor."""
    root = from_debian("arm64", ".", "--architectures=arm64", f"--include={SYSTEM}")
    python = [qemu, "-cpu", processor, "-L", str(root), str(root / "usr/bin/python3.11")]
    env = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(home / "lib")}
    command = [*python, "-B", "-c", ANSWER, str(payloads)]
    run = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done(run))
    assert result["machine"] == "aarch64"
    return result


def compare(result: dict[str, Any], expected: dict[str, Any]) -> tuple[int, float]:
    """Return how many labels differ, and the largest difference of a probability."""
    pairs = list(zip(result["rows"], expected["rows"], strict=True))
    others = sum(a.index(max(a)) != b.index(max(b)) for a, b in pairs)
    return others, max(abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_predicts_as_on_x86(
    processor: str, qemu: str, home: Path, deployable: Path, payloads: Path, on_x86: dict[str, Any]
) -> None:
    result = emulated(qemu, processor, home, payloads)
    others, largest = compare(result, on_x86)
    chosen = json.loads((deployable / "reports/compress.json").read_text())["shipped"]
    print(
        f"{processor}, {chosen}: {others} of {len(on_x86['rows'])} labels differ, probabilities "
        f"by {largest:.2g}; median {result['median_ms']:.3g} ms in the emulator, not on a device"
    )
    assert "int8" in chosen
    allowed = yaml.safe_load((deployable / "scope.yaml").read_text())["max_onnx_difference"]
    assert others == 0 and largest <= allowed


def test_detects_an_altered_model(
    qemu: str, home: Path, deployable: Path, payloads: Path, on_x86: dict[str, Any], tmp_path: Path
) -> None:
    done(run_in(deployable, "python", "-c", ALTER))
    other = tmp_path / "home"
    shutil.copytree(home, other, symlinks=True, copy_function=os.link)
    (other / "models/shipped.onnx").unlink()
    shutil.copy(deployable / "altered.onnx", other / "models/shipped.onnx")
    _, largest = compare(emulated(qemu, PROCESSORS[0], other, payloads), on_x86)
    allowed = yaml.safe_load((deployable / "scope.yaml").read_text())["max_onnx_difference"]
    assert largest > allowed
