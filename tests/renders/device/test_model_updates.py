"""Model updates under attacks and faults, with real processes.

A publisher with a champion and a second release, a web server, and a device.
"""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conftest import ROOT, Render
from environment import environment, requirements, variables
from everyday import every_nth
from repository import damage, done, git, run_in
from server import REPLACE, command, release, roll_out
from test_canary import ELSEWHERE, until

WEB = ROOT / "tests/support/inside/web.py"
INSTALLED = ("src", "models", "scope.yaml", "params.yaml", "schema.yaml", "prices.yaml")
# Print the current model and a prediction, without an update, and verify the releases on disk.
SHOW_MODEL = """
import json
from pathlib import Path
from scratch_detector.device import model_trial, slots
from scratch_detector.releases import registry
for folder in slots.SLOTS.glob("[0-9a-f]" * 12):
    registry.verify_folder(folder)
model = model_trial.DeviceModel()
(path,) = Path(".").glob("payload.*")
confidence = model.predictor.predict(path.read_bytes()).answer["confidence"]
print(json.dumps([model.predictor.sha256, confidence]))
"""
# Write a root of version 2 that is signed with one of the two required keys.
SIGN_BELOW_THRESHOLD = """
from tuf.api.metadata import Metadata, Root
from scratch_detector.fleet import publish
publish.ROLES = {"root-1": ["root"]}
root = publish._load_root()
root.version = 2
root.verify_delegate = lambda *_: None
content = publish._sign(root, root)
(publish.REPOSITORY / "metadata" / "2.root.json").write_bytes(content)
"""
# Publish a release with altered gates, signed with the key in keys/.
FORGE = """
import hashlib, json
from scratch_detector import atomic
from scratch_detector.fleet import publish
from scratch_detector.releases import registry, signing
champion = json.loads(registry.ROLLOUT.read_text())["champion"]
old = registry.RELEASES / champion
content = {name: (old / name).read_bytes() for name in registry.FILES}
gates = json.loads(content["gates.json"])
gates[0] |= CHANGES
content["gates.json"] = json.dumps(gates).encode()
hashes = {name: hashlib.sha256(file).hexdigest() for name, file in content.items()}
manifest = atomic.to_json({"name": "forged@v9", "files": hashes})
folder = registry.RELEASES / hashlib.sha256(manifest).hexdigest()[:12]
folder.mkdir()
envelope = signing.sign(manifest, signing.load_signer(registry.KEY))
for name, file in (content | {"manifest.json": manifest, "manifest.dsse": envelope}).items():
    (folder / name).write_bytes(file)
files = {path.name: path.read_bytes() for path in folder.iterdir()}
publish.read_rollout = lambda: registry.Rollout(champion=champion)
publish.verify_release = lambda _: registry.Release(folder.name, "forged@v9", files)
publish.publish()
"""
# Update and pass the trial, killed at a random time; then check the state and finish the update.
KILL_UPDATES = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from scratch_detector.device import model_trial, model_update, slots
from scratch_detector.predictor import prepare
from scratch_detector.releases import registry
(path,) = Path(".").glob("payload.*")
payload = path.read_bytes()
model_trial.load_params = lambda: type("P", (), {"update_url": ""})
model_trial.TRIAL_PREDICTIONS = 3

def whole():
    state = slots.read_state()
    for id in {state.good, state.trial} - {""}:
        registry.verify_folder(slots.SLOTS / id)
    assert state.good in (old, new) and state.trial in ("", new) and not state.bad, state
    return state

def work():
    model_update.update()
    model = model_trial.DeviceModel()
    while slots.read_state().trial:
        model.poll()
        model.infer(prepare(payload))

def start():
    if pid := os.fork():
        return pid
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)

old, new, kills = *sys.argv[1:3], int(sys.argv[3])
rng, kept = random.Random(7), Path("kept")
shutil.copytree("data/models", kept)
longest_s, stages = 0.0, {}
for number in range(1 + kills):
    shutil.rmtree("data/models")
    shutil.copytree(kept, "data/models")
    began, pid = time.monotonic(), start()
    if number:
        time.sleep(rng.random() * longest_s)
        os.kill(pid, signal.SIGKILL)
    died = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    longest_s = longest_s or time.monotonic() - began
    state = whole()
    stage = f"{died} {'new' if state.good == new else 'trial' if state.trial else 'old'}"
    stages[stage] = stages.get(stage, 0) + 1
    assert os.waitpid(start(), 0)[1] == 0 and whole().good == new
print(json.dumps(stages))
"""


class Publisher(NamedTuple):
    """A project with two releases; `ids` are those of the champion and of the second release."""

    folder: Path
    ids: tuple[str, str]

    def publish(self, id: str) -> None:
        roll_out(self.folder, champion=id)
        command(self.folder, "publish")

    def python(self, code: str) -> str:
        return done(run_in(self.folder, "python", "-c", code))

    def metadata(self, role: str) -> Path:
        paths = (self.folder / "repository/metadata").glob(f"*.{role}.json")
        return max(paths, key=lambda path: int(path.name.split(".")[0]))


class Device(NamedTuple):
    """An installed device, in an environment without PyTorch."""

    folder: Path
    python: Path

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        everything = variables(self.folder, self.python.parent.parent) | env
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = (str(self.python), *words)
        return subprocess.Popen(words, cwd=self.folder, env=everything, text=True, **pipes)

    def update(self, **env: str) -> tuple[int, str]:
        process = self.start("-m", "scratch_detector", "update", **env)
        _, error = process.communicate(timeout=120)
        assert "Traceback" not in error
        return process.returncode, error

    def expect_refusal(self, **env: str) -> str:
        """Run an update that must be rejected and change nothing; return its error."""
        before = self.state(), self.show_model()
        code, error = self.update(**env)
        assert code == 1 and "docs/runbook/devices.md#model-update" in error, error
        assert (self.state(), self.show_model()) == before
        return error

    def state(self) -> dict[str, Any]:
        path = self.folder / "data/models/state.json"
        kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return {key: kept.get(key) or "" for key in ("good", "trial", "bad")}

    def write_state(self, **values: object) -> None:
        path = self.folder / "data/models/state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def show_model(self) -> tuple[str, float]:
        process = self.start("-c", SHOW_MODEL)
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        hash, confidence = json.loads(out)
        assert 0 < confidence <= 1
        return hash, confidence

    def decisions(self) -> list[str]:
        """Return the decisions in the outbox, as JSON lines."""
        process = self.start("-m", "scratch_detector", "outbox")
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        return out.splitlines()

    def set(self, **values: object) -> None:
        path = self.folder / "params.yaml"
        for key, value in values.items():
            text, count = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", path.read_text())
            assert count == 1
            path.write_text(text)

    def accept(self, id: str) -> "Device":
        """Update to a release, and mark its trial as passed."""
        assert self.update()[0] == 0 and self.state()["trial"] == id
        self.write_state(good=id, trial="", starts=0)
        return self

    def put(self, name: str) -> None:
        (source,) = self.folder.glob("payload.*")
        hidden = self.folder / f"data/inbox/.{name}"
        shutil.copy(source, hidden)
        hidden.rename(hidden.with_name(f"{name}{source.suffix}"))

    def metric(self, outcome: str) -> float:
        path = self.folder / "data/metrics.prom"
        text = path.read_text() if path.exists() else ""
        match = re.search(rf'^updates_total{{outcome="{outcome}"}} (\S+)$', text, re.MULTILINE)
        return float(match[1]) if match else 0.0


@contextmanager
def web(*words: str) -> Iterator[tuple[str, list[str]]]:
    """Run the web server; yield its address and the requested paths, filled at the end."""
    process = subprocess.Popen(
        [sys.executable, str(WEB), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    requested: list[str] = []
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", requested
    finally:
        process.kill()
        requested += process.communicate()[0].splitlines()


@contextmanager
def running_loop(device: Device) -> Iterator["subprocess.Popen[str]"]:
    """Run the device loop, and wait until it is ready."""
    with device.start("-m", "scratch_detector", "edge") as process:
        try:
            assert process.stdout and "Waiting" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def two_releases(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    folder = tmp_path_factory.mktemp("publisher") / "repo"
    shutil.copytree(render(modality="tabular", target="edge"), folder)
    git(folder, "init", "-q", "-b", "main")
    pipeline = (
        "from scratch_detector.cli import STAGES, run; [run(name) for name in [*STAGES, 'card']]"
    )
    done(run_in(folder, "python", "-c", pipeline))
    command(folder, "example")
    first = release(folder)
    shutil.copytree(folder / "models", folder / "installed")
    command(folder, "publish")
    return Publisher(folder, (first, release(folder, "again")))


@pytest.fixture
def publisher(two_releases: Publisher, tmp_path: Path) -> Publisher:
    shutil.copytree(two_releases.folder, tmp_path / "publisher", symlinks=True)
    return two_releases._replace(folder=tmp_path / "publisher")


@pytest.fixture
def server(publisher: Publisher) -> Iterator[str]:
    with web(str(publisher.folder / "repository")) as (url, _):
        yield url


@pytest.fixture
def device(two_releases: Publisher, server: str, tmp_path: Path) -> Device:
    folder = tmp_path / "device"
    shutil.copytree(two_releases.folder / "installed", folder / "models")
    for name in (name for name in INSTALLED if name != "models"):
        copy = shutil.copytree if (two_releases.folder / name).is_dir() else shutil.copy
        copy(two_releases.folder / name, folder / name)
    for name in ("keys", "data/inbox"):
        (folder / name).mkdir(parents=True)
    for name in ("release.pub", "1.root.json"):
        shutil.copy(two_releases.folder / "keys" / name, folder / "keys")
    (example,) = (two_releases.folder / "data").glob("example.*")
    shutil.copy(example, folder / f"payload{example.suffix}")
    made = Device(folder, environment(requirements(two_releases.folder)) / "bin/python")
    made.set(update_url=server)
    return made


def test_keys_are_private_and_each_role_needs_its_key(publisher: Publisher) -> None:
    folder = publisher.folder
    for name in ("root-1", "root-2", "root-3", "targets", "online"):
        assert stat.S_IMODE((folder / f"keys/{name}.pem").stat().st_mode) == 0o600
    status = git(folder, "status", "--porcelain", "-uall")
    assert "keys/1.root.json" in status and ".pem" not in status and "repository" not in status
    published = publisher.metadata("targets")
    for name in ("root-1", "root-2", "root-3", "targets"):
        (folder / f"keys/{name}.pem").rename(folder / f"{name}.offline")
    before = (folder / "repository/metadata/timestamp.json").read_bytes()
    publisher.publish(publisher.ids[0])
    assert before != (folder / "repository/metadata/timestamp.json").read_bytes()
    assert publisher.metadata("targets") == published, "renewed without the offline keys"
    with pytest.raises(AssertionError, match="Cannot sign targets: .*It needs targets"):
        publisher.publish(publisher.ids[1])
    assert publisher.metadata("targets") == published
    refused = run_in(folder, "python", "-m", "scratch_detector", "rotate", "online")
    assert refused.returncode and "signed by 0/2 keys" in refused.stderr
    assert not (folder / "keys/2.root.json").exists()


def test_first_update_repeated_update_and_rollback(publisher: Publisher, device: Device) -> None:
    first, second = publisher.ids
    assert device.update()[0] == 0 and device.state() == {"good": "", "trial": first, "bad": ""}
    device.write_state(good=first, trial="")
    with web(str(publisher.folder / "repository")) as (url, requested):
        device.set(update_url=url)
        assert device.update()[0] == 0 and device.state() == {"good": first, "trial": "", "bad": ""}
    assert requested and all("/targets/" not in path for path in requested), (
        "files were downloaded again"
    )
    with web(str(publisher.folder / "repository")) as (url, _):
        device.set(update_url=url)
        publisher.publish(second)
        device.accept(second)
        publisher.publish(first)
        assert device.update()[0] == 0 and device.state()["trial"] == first
        publisher.publish(second)
        assert device.update()[0] == 0 and device.state()["trial"] == "", (
            "withdrawn during its trial"
        )


def forge(publisher: Publisher, **changes: object) -> None:
    """Publish a release with an altered first gate."""
    publisher.python(FORGE.replace("CHANGES", str(changes)))


def use_foreign_keys(publisher: Publisher) -> None:
    for path in [*(publisher.folder / "keys").glob("*.root.json"), publisher.metadata("snapshot")]:
        path.unlink()
    publisher.publish(publisher.ids[1])


def use_other_release_key(publisher: Publisher) -> None:
    for path in (publisher.folder / "keys").glob("release.*"):
        path.unlink()
    forge(publisher, passed=True)


def publish_faulty(kind: str, before: str, publisher: Publisher) -> None:
    publisher.publish(release(publisher.folder, kind, before))


def spoil(publisher: Publisher, name: str) -> None:
    publisher.publish(publisher.ids[1])
    paths = sorted((publisher.folder / "repository").rglob(name), key=lambda p: p.stat().st_mtime)
    damage(paths[-1])


def expire(publisher: Publisher) -> None:
    publisher.python(
        "from scratch_detector.fleet import publish\n"
        "publish.DAYS['timestamp'] = 0; publish.publish()"
    )


ATTACKS: dict[str, tuple[Callable[[Publisher], object], str]] = {
    "tampered model": (lambda p: spoil(p, "*.model.onnx"), "LengthOrHashMismatchError"),
    "tampered targets": (lambda p: spoil(p, "*.targets.json"), "No update from"),
    "tampered timestamp": (lambda p: spoil(p, "timestamp.json"), "No update from"),
    "foreign keys": (use_foreign_keys, "UnsignedMetadataError: timestamp was signed by 0/1 keys"),
    "expired": (expire, "ExpiredMetadataError: timestamp.json is expired"),
    "root below": (
        lambda p: p.python(SIGN_BELOW_THRESHOLD),
        "UnsignedMetadataError: root was signed by 1/2 keys",
    ),
    "broken gate": (lambda p: forge(p, observed=9, passed=False), "does not meet all limits"),
    "verdict against its numbers": (lambda p: forge(p, passed=False), "but the numbers"),
    "other release key": (use_other_release_key, "was not signed with keys/release.pub"),
    "nan": (
        lambda p: publish_faulty("nan", "", p),
        "returns NaN or infinity for an all-zero input",
    ),
    "newer opset": (
        lambda p: publish_faulty("newer-opset", ELSEWHERE, p),
        "model of this project",
    ),
}


@pytest.mark.parametrize(("attack", "words"), every_nth(4, ATTACKS.values(), ATTACKS))
def test_rejects_attacks_and_keeps_the_last_good_model(
    attack: Callable[[Publisher], object], words: str, publisher: Publisher, device: Device
) -> None:
    device.accept(publisher.ids[0])
    attack(publisher)
    assert words in device.expect_refusal()


def test_rejects_a_replayed_repository(publisher: Publisher, device: Device) -> None:
    repository = publisher.folder / "repository"
    shutil.copytree(repository, publisher.folder / "replayed")
    publisher.publish(publisher.ids[1])
    device.accept(publisher.ids[1])
    shutil.rmtree(repository)
    (publisher.folder / "replayed").rename(repository)
    assert "BadVersionNumberError" in device.expect_refusal()


def test_does_not_download_a_model_above_max_model_mb(
    two_releases: Publisher, device: Device
) -> None:
    scope = device.folder / "scope.yaml"
    scope.write_text(re.sub(r"max_model_mb: [\d.]+", "max_model_mb: 0.001", scope.read_text()))
    assert "MB, limit 0.001 MB" in device.expect_refusal()
    assert not list((device.folder / "data/models").rglob("model.onnx"))


@pytest.mark.parametrize(
    ("fault", "word"),
    every_nth(
        5,
        [
            ("cut", "model.onnx"),
            ("cut", "manifest.dsse"),
            ("endless", "model.onnx"),
            ("endless", "timestamp"),
            ("trickle", "model.onnx"),
        ],
    ),
)
def test_next_update_continues_after_a_network_failure(
    fault: str, word: str, publisher: Publisher, device: Device, server: str
) -> None:
    device.accept(publisher.ids[0])
    publisher.publish(publisher.ids[1])
    repository = str(publisher.folder / "repository")
    with web(repository, fault, word) as (url, _):
        device.set(update_url=url)
        if fault == "trickle":
            device.set(update_every_s=3)
            assert device.update()[0] == -signal.SIGALRM, (
                "an update must end before the next one is due"
            )
        else:
            device.expect_refusal()
    device.set(update_every_s=3600)
    fetched = {path.name for path in (device.folder / "data/models/drafts").glob("*/*")}
    assert len(fetched) == (7 if word == "manifest.dsse" else 0)
    with web(repository) as (url, requested):
        device.set(update_url=url)
        device.accept(publisher.ids[1])
    again = {path.split(".", 1)[1] for path in requested if "/targets/" in path}
    assert (
        again
        == {
            path.name
            for path in next((device.folder / "data/models").glob(publisher.ids[1])).iterdir()
        }
        - fetched
    )
    device.show_model()


def test_keeps_its_model_without_a_server(publisher: Publisher, device: Device) -> None:
    device.accept(publisher.ids[0])
    device.set(update_url="http://127.0.0.1:9")
    assert "No update from http://127.0.0.1:9" in device.expect_refusal()
    device.set(update_url='""')
    assert "update_url in params.yaml" in device.update()[1]


def test_rotates_all_keys(publisher: Publisher, device: Device) -> None:
    device.accept(publisher.ids[0])
    for name in ("online", "root-1", "targets"):
        command(publisher.folder, "rotate", name)
        command(publisher.folder, "publish")
        assert device.update()[0] == 0
    (publisher.folder / "keys/root-2.pem").unlink()  # lost: the other two root keys sign
    command(publisher.folder, "rotate", "root-2")
    publisher.publish(publisher.ids[1])
    assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]
    old = publisher.folder / "keys/1.root.json"
    assert old.exists() and (publisher.folder / "keys/5.root.json").exists()


def test_rejects_signatures_of_a_replaced_key(publisher: Publisher, device: Device) -> None:
    device.accept(publisher.ids[0])
    stolen = (publisher.folder / "keys/online.pem").read_bytes()
    command(publisher.folder, "rotate", "online")
    command(publisher.folder, "publish")
    assert device.update()[0] == 0
    (publisher.folder / "keys/online.pem").write_bytes(stolen)
    publisher.python(
        "from scratch_detector.fleet import publish\n"
        "publish.Root.verify_delegate = lambda *_: None\npublish.publish()"
    )
    assert "UnsignedMetadataError: timestamp was signed by 0/1 keys" in device.expect_refusal()


def test_updates_through_a_proxy(publisher: Publisher, device: Device, server: str) -> None:
    with web("proxy") as (proxy, requested):
        assert device.update(http_proxy=proxy, no_proxy="")[0] == 0
    assert f"{server}/metadata/timestamp.json" in requested
    assert device.state()["trial"] == publisher.ids[0]


def fill(folder: Path) -> None:
    file = (folder / "filler").open("wb", buffering=0)
    with file, pytest.raises(OSError, match="28"):
        while True:
            file.write(bytes(4096))


def test_full_disk_keeps_the_last_good_model(publisher: Publisher, device: Device) -> None:
    models = device.folder / "data/models"
    models.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(models)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a full disk, because mounts are not permitted")
    try:
        device.accept(publisher.ids[0])
        publisher.publish(publisher.ids[1])
        fill(models)
        assert "No space left" in device.expect_refusal()
        (models / "filler").unlink()
        assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]
        fill(models)
        good = (models / publisher.ids[0] / "model.onnx").read_bytes()
        assert device.show_model()[0] == sha256(good).hexdigest(), "the start cannot be counted"
        assert device.state()["trial"] == publisher.ids[1] and device.state()["bad"] == ""
    finally:
        subprocess.run(["umount", str(models)], check=True)


def test_running_device_updates_without_missing_a_decision(
    publisher: Publisher, device: Device
) -> None:
    first, second = publisher.ids
    device.set(update_every_s=1)
    files = 0
    with running_loop(device) as process:
        for id in (first, second, first):
            publisher.publish(id)
            deadline = time.monotonic() + 120
            while device.state() != {"good": id, "trial": "", "bad": ""}:
                device.put(f"{files}")
                files += 1
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
        until(lambda: device.metric("kept") == 3)
        assert device.metric("tried") == 3 and not device.metric("returned")
        until(lambda: not list((device.folder / "data/inbox").iterdir()))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    lines = device.decisions()
    assert len(lines) == files and all("label" in json.loads(line) for line in lines)


def test_model_that_fails_its_trial_is_not_tried_again(
    publisher: Publisher, device: Device
) -> None:
    device.accept(publisher.ids[0])
    bad = release(publisher.folder, "unready")
    publisher.publish(bad)
    device.set(update_every_s=1)
    with running_loop(device) as process:
        until(lambda: device.state()["trial"] == bad)
        device.put("one")
        until(lambda: device.state() == {"good": publisher.ids[0], "trial": "", "bad": [bad]})
        until(device.decisions)
        checks = device.metric("checked")
        until(lambda: device.metric("checked") >= checks + 3)
        assert (device.metric("tried"), device.metric("returned")) == (1, 1)
        assert device.state() == {"good": publisher.ids[0], "trial": "", "bad": [bad]}
        assert process.poll() is None
    (decision,) = device.decisions()
    assert "label" in json.loads(decision), "the last good model decides on the payload"
    device.set(update_every_s=3600)  # a manual update may take longer than 1 s
    publisher.publish(publisher.ids[1])
    assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]


def test_trial_fails_after_three_killed_starts(publisher: Publisher, device: Device) -> None:
    device.accept(publisher.ids[0])
    publisher.publish(publisher.ids[1])
    assert device.update()[0] == 0
    device.set(update_url='""')
    for _ in range(3):
        with running_loop(device) as process:
            process.kill()
        assert device.state()["trial"] == publisher.ids[1]
    good = device.folder / "data/models" / publisher.ids[0] / "model.onnx"
    assert device.show_model()[0] == sha256(good.read_bytes()).hexdigest()
    assert device.state() == {"good": publisher.ids[0], "trial": "", "bad": [publisher.ids[1]]}


def test_damaged_release_is_downloaded_again(publisher: Publisher, device: Device) -> None:
    device.accept(publisher.ids[0])
    damage(device.folder / "data/models" / publisher.ids[0] / "model.onnx")
    installed = (device.folder / "models/shipped.onnx").read_bytes()
    process = device.start("-c", SHOW_MODEL.replace("registry.verify_folder(folder)", "pass"))
    out, error = process.communicate(timeout=60)
    assert json.loads(out)[0] == sha256(installed).hexdigest(), error
    assert "Using the installed model" in error
    device.accept(publisher.ids[0]).show_model()


@pytest.mark.parametrize(
    "kills",
    [pytest.param(18, marks=pytest.mark.long), pytest.param(60, marks=pytest.mark.matrix)],
)
def test_kills_leave_a_complete_model(kills: int, publisher: Publisher, device: Device) -> None:
    first, second = publisher.ids
    device.accept(first)
    publisher.publish(second)
    process = device.start("-c", KILL_UPDATES, first, second, str(kills))
    out, error = process.communicate(timeout=1200)
    assert process.returncode == 0, error[-3000:]
    stages = json.loads(out)
    assert sum(stages.values()) == 1 + kills and stages["-9 old"] >= kills / 6, stages


SIGNED = """
import hashlib, json, sys
manifest = json.loads(read_bytes(Path(sys.argv[1], "manifest.json")))
"""
PUBLISHED = """
from scratch_detector.fleet import publish
publish.publish()
(target,) = Path("repository/targets").glob(manifest["files"]["model.onnx"] + ".model.onnx")
assert hashlib.sha256(read_bytes(target)).hexdigest() == manifest["files"]["model.onnx"]
"""
LOADED = """
from scratch_detector.device import model_trial
model_trial.load_params = lambda: type("P", (), {"update_url": ""})
print(model_trial.DeviceModel().predictor.sha256 == manifest["files"]["model.onnx"])
"""


def test_only_bytes_that_were_verified_are_published_and_run(
    publisher: Publisher, device: Device
) -> None:
    """A model is replaced on the disk as soon as it was verified."""
    first, second = publisher.ids
    script = str(ROOT / "tests/support/inside/fabricate.py")
    evil = publisher.folder / "evil.onnx"
    done(run_in(publisher.folder, "python", script, "turned", "models/shipped.onnx", str(evil)))
    publisher.publish(second)
    device.accept(second)
    shutil.copy(evil, device.folder)
    process = device.start("-c", REPLACE + SIGNED + LOADED, f"data/models/{second}")
    output, error = process.communicate(timeout=120)
    assert output == "True\n", error
    shutil.rmtree(publisher.folder / "repository/targets")
    code = REPLACE + SIGNED + PUBLISHED
    done(run_in(publisher.folder, "python", "-c", code, f"releases/{second}"))
