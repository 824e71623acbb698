"""A server, a device, a collector and a broker under faults: nothing is lost, nothing is stuck.

`SOAK_S` is the duration of the faults in seconds, `SOAK_SEED` their order. `make soak` runs it for
ten minutes.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import server
from conftest import Render, Shared
from containers import free_port
from repository import done, run_in
from soak import DISK, KEY, MEMORY_MB, STARTED, Part, Soak, is_by_socket
from test_outbox import settings

FAULTS = (
    *("kill_server", "kill_device", "kill_collector", "kill_broker"),
    *("step_clock_of_server", "step_clock_of_collector", "step_clock_of_device"),
    *("fill_disk_of_server", "fill_disk_of_collector", "fill_disk_of_device"),
    *("damage_journal", "damage_outbox", "damage_database_of_collector"),
    *("send_garbage_to_server", "send_garbage_to_collector", "send_garbage_to_device"),
    *("read_slowly", "spoil_rollout", "switch_release"),
)
DURATION_S = float(os.environ.get("SOAK_S", "60"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
MAKE_MODEL = "from scratch_detector.cli import STAGES, run; [run(n) for n in [*STAGES, 'card']]"
NOT_COPIED = shutil.ignore_patterns("raw", "features.npz", ".dvc", ".git", "tests", "candidates")


@pytest.fixture(scope="session")
def fleet(render: Render, shared: Shared) -> Path:
    """A project with a server, devices, a broker and two releases."""

    def make(folder: Path) -> None:
        done(run_in(folder, "git", "init", "-q", "-b", "main"))
        done(run_in(folder, "python", "-c", MAKE_MODEL))
        server.command(folder, "example")
        server.release(folder)
        server.release(folder, "again")

    return shared("fleet", render(modality="tabular", target="hybrid", uplink="mqtt"), make)


@pytest.fixture
def parts(fleet: Path, tmp_path: Path) -> Iterator[dict[str, Part]]:
    """Each process has its own copy of the project, with `data/` on a small disk."""
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin"):
        pytest.skip("NOT TESTED: a soak, because mosquitto is not installed")
    (example,) = (fleet / "data").glob("example.*")
    found = {name: Part(name, tmp_path / name, free_port()) for name in ("broker", *STARTED)}
    broker = found["broker"]
    broker.folder.mkdir()
    (broker.folder / "settings").write_text(
        f"listener {broker.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"persistence true\npersistence_location {broker.folder}/\n"
    )
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "device-keys").write_text(f"line-1 {KEY}\n")
    upload, ask = f"mqtt://127.0.0.1:{broker.port}/fleet/events", found["server"].port
    env = {
        "server": {"PORT": str(ask), "API_KEYS_FILE": str(tmp_path / "key")},
        "device": {name: str(tmp_path / "key") for name in ("UPLOAD_KEY_FILE", "SERVER_KEY_FILE")},
        "collector": {
            "COLLECT_PORT": str(found["collector"].port),
            "COLLECT_KEYS_FILE": str(tmp_path / "device-keys"),
        },
    }
    mounted = []
    try:
        for name in STARTED:
            folder = found[name].folder
            shutil.copytree(fleet, folder, symlinks=True, ignore=NOT_COPIED)
            shutil.rmtree(folder / "data")
            (folder / "data").mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder / "data")]
            if (run := subprocess.run(mount, capture_output=True, text=True)).returncode:
                pytest.skip(f"NOT TESTED: a soak, because {run.stderr}")
            mounted.append(folder / "data")
            shutil.copy(example, folder / "data")
            settings(folder, 'upload_url: ""', f"upload_url: {upload}")
            settings(folder, 'server_url: ""', f"server_url: http://127.0.0.1:{ask}/predict")
            settings(folder, 'device: ""', "device: line-1")
            found[name].env = {f"SCRATCH_DETECTOR_{key}": text for key, text in env[name].items()}
        yield found
    finally:
        for part in found.values():
            if part.process:
                part.kill()
        for place in mounted:
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.long
def test_faults_lose_nothing_and_leave_nothing_stuck(
    parts: dict[str, Part], capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = (parts["server"].folder / "data").glob("example.*")
    soak = Soak(parts, example.read_text(), SEED)
    soak.start()
    until_s = time.monotonic() + DURATION_S
    while time.monotonic() < until_s:
        for name in soak.rng.sample(FAULTS, len(FAULTS)):
            if time.monotonic() < until_s:
                getattr(soak, name)()
                soak.done[name] += 1
    soak.finish()
    decisions = [json.loads(decision) for decision in soak.stored]
    decided = {decision["file"] for decision in decisions if "file" in decision}
    by_socket = sum(is_by_socket(decision) for decision in decisions)
    labels = soak.read_labels()
    counts = {
        "faults": dict(sorted(soak.done.items())),
        "replies": dict(soak.replies),
        "files": len(soak.files),
        "files without a stored decision": len(soak.files - decided - soak.lost_with_a_file),
        "lost with a damaged outbox": len(soak.lost_with_a_file - decided),
        "decisions by socket": soak.by_socket,
        "stored decisions by socket": by_socket,
        "labels": len(soak.labelled),
        "labels not stored": len(soak.labelled - labels),
        "memory, MB": {name: round(parts[name].memory_mb()) for name in MEMORY_MB},
    }
    with capsys.disabled():
        print(f"\n{json.dumps(counts, indent=1)}")
    assert soak.unexpected == []
    assert counts["files without a stored decision"] == counts["labels not stored"] == 0
    assert by_socket >= soak.by_socket - soak.lost_by_socket
    assert len(soak.files) > 0 and len(soak.labelled) > 0
    # Nothing is stuck: each process answers, its threads run, and what was answered is counted.
    for name in STARTED:
        assert soak.is_well(name)
        assert parts[name].memory_mb() < MEMORY_MB[name]
        assert len(list(Path(f"/proc/{parts[name].process.pid}/fd").iterdir())) < 100
        assert "Traceback" not in parts[name].text()
    text = soak.ask("server", "/metrics")[1].decode()
    tasks = [line for line in text.splitlines() if line.startswith("background_task_up{")]
    assert len(tasks) >= 4 and all(line.endswith(" 1.0") for line in tasks)
    before = soak.metric("server", "predictions_total{")
    answered = soak.replies[200]
    for number in range(50):
        soak._predict(10**6 + number)
    after = soak.metric("server", "predictions_total{")
    assert after - before == soak.replies[200] - answered == 50
