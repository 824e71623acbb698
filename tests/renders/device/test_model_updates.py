"""Models that devices fetch: attacks and faults refused or survived, on real processes.

A publisher with a champion and another release, a web server, and devices that are copies.
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
from repository import damage, done, git, run_in
from server import command, release
from test_canary import ELSEWHERE, until

WEB = ROOT / "tests/support/inside/web.py"
INSTALLED = ("src", "models", "scope.yaml", "params.yaml", "schema.yaml", "prices.yaml")
# What answers now, without moving on, and the releases in `data/models`, each held against itself.
LOOK = """
import json
from pathlib import Path
from scratch_detector.device import model_trial, slots
from scratch_detector.releases import registry
for folder in slots.SLOTS.glob("[0-9a-f]" * 12):
    registry.verify_folder(folder)
model = model_trial.DeviceModel()
(path,) = Path(".").glob("payload.*")
confidence = model.predictor.predict(path.read_bytes()).confidence
print(json.dumps([model.predictor.sha256, confidence]))
"""
# A root of version 2 that one of two keys has signed.
BELOW = """
from tuf.api.metadata import Metadata, Root
from scratch_detector.fleet import publish
publish.ROLES = {"root-1": ["root"]}
root = publish._load_root()
root.version = 2
root.verify_delegate = lambda *_: None
content = publish._sign(root, root)
(publish.REPOSITORY / "metadata" / "2.root.json").write_bytes(content)
"""
# A release with other gates, signed with the key that is in keys/, and published whatever it is.
FORGE = """
import hashlib, json
from scratch_detector import atomic
from scratch_detector.fleet import publish
from scratch_detector.releases import registry, signing
old = registry.RELEASES / registry.read_rollout().champion
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
publish.verify_release = lambda _: registry.Release(folder.name, folder, "forged@v9")
publish.publish()
"""
# Update, try and keep a release, killed at a moment of chance; then look, and do it to the end.
DIE = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from scratch_detector.device import model_trial, model_update, slots
from scratch_detector.predictor import prepare
from scratch_detector.releases import registry
(path,) = Path(".").glob("payload.*")
payload = path.read_bytes()
model_trial.load_params = lambda: type("P", (), {"update_url": ""})
model_trial.TRIAL_ANSWERS = 3

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
        model.answer(prepare(payload))

def start():
    if pid := os.fork():
        return pid
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)

old, new = sys.argv[1:]
chance, kept = random.Random(7), Path("kept")
shutil.copytree("data/models", kept)
longest_s, stages = 0.0, {}
for number in range(61):
    shutil.rmtree("data/models")
    shutil.copytree(kept, "data/models")
    began, pid = time.monotonic(), start()
    if number:
        time.sleep(chance.random() * longest_s)
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
    """A project with releases; `ids` are of the champion and of the other one."""

    folder: Path
    ids: tuple[str, str]

    def crown(self, id: str) -> None:
        (self.folder / "releases/rollout.json").write_text(json.dumps({"champion": id}))
        command(self.folder, "publish")

    def python(self, code: str) -> str:
        return done(run_in(self.folder, "python", "-c", code))

    def metadata(self, role: str) -> Path:
        found = (self.folder / "repository/metadata").glob(f"*.{role}.json")
        return max(found, key=lambda path: int(path.name.split(".")[0]))


class Device(NamedTuple):
    """What was installed, in an environment without PyTorch."""

    folder: Path
    python: Path

    def start(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        everything = variables(self.folder, self.python.parent.parent) | env
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = (str(self.python), *words)
        return subprocess.Popen(words, cwd=self.folder, env=everything, text=True, **pipes)

    def update(self, **env: str) -> tuple[int, str]:
        process = self.start("-m", "scratch_detector", "update", **env)
        _, said = process.communicate(timeout=120)
        assert "Traceback" not in said
        return process.returncode, said

    def refused(self, **env: str) -> str:
        """Return why an update was refused; what answers must be as before, and be whole."""
        before = self.state(), self.look()
        code, said = self.update(**env)
        assert code == 1 and "docs/runbook/devices.md#model-update" in said, said
        assert (self.state(), self.look()) == before
        return said

    def state(self) -> dict[str, Any]:
        path = self.folder / "data/models/state.json"
        kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return {key: kept.get(key) or "" for key in ("good", "trial", "bad")}

    def write_state(self, **values: object) -> None:
        path = self.folder / "data/models/state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    def look(self) -> tuple[str, float]:
        process = self.start("-c", LOOK)
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        hash, confidence = json.loads(out)
        assert 0 < confidence <= 1
        return hash, confidence

    def decided(self) -> list[str]:
        """Return the decisions that wait in the outbox."""
        process = self.start("-m", "scratch_detector", "outbox")
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return out.splitlines()

    def set(self, **values: object) -> None:
        path = self.folder / "params.yaml"
        for key, value in values.items():
            text, found = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", path.read_text())
            assert found == 1
            path.write_text(text)

    def has(self, id: str) -> "Device":
        """Trust a release as if its trial were over."""
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
        found = re.search(rf'^updates_total{{outcome="{outcome}"}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def web(*words: str) -> Iterator[tuple[str, list[str]]]:
    """Run the web server; give its address, and what was asked for until it ended."""
    process = subprocess.Popen(
        [sys.executable, str(WEB), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    asked: list[str] = []
    try:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", asked
    finally:
        process.kill()
        asked += process.communicate()[0].splitlines()


@contextmanager
def looping(device: Device) -> Iterator["subprocess.Popen[str]"]:
    """Run the device loop until it waits for files."""
    with device.start("-m", "scratch_detector", "edge") as process:
        try:
            assert process.stdout and "Waiting" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cast(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
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
def publisher(cast: Publisher, tmp_path: Path) -> Publisher:
    shutil.copytree(cast.folder, tmp_path / "publisher", symlinks=True)
    return cast._replace(folder=tmp_path / "publisher")


@pytest.fixture
def server(publisher: Publisher) -> Iterator[str]:
    with web(str(publisher.folder / "repository")) as (url, _):
        yield url


@pytest.fixture
def device(cast: Publisher, server: str, tmp_path: Path) -> Device:
    folder = tmp_path / "device"
    shutil.copytree(cast.folder / "installed", folder / "models")
    for name in (name for name in INSTALLED if name != "models"):
        copy = shutil.copytree if (cast.folder / name).is_dir() else shutil.copy
        copy(cast.folder / name, folder / name)
    for name in ("keys", "data/inbox"):
        (folder / name).mkdir(parents=True)
    for name in ("release.pub", "1.root.json"):
        shutil.copy(cast.folder / "keys" / name, folder / "keys")
    (example,) = (cast.folder / "data").glob("example.*")
    shutil.copy(example, folder / f"payload{example.suffix}")
    made = Device(folder, environment(requirements(cast.folder)) / "bin/python")
    made.set(update_url=server)
    return made


def test_the_keys_are_secret_and_each_is_needed_for_its_own(publisher: Publisher) -> None:
    folder = publisher.folder
    for name in ("root-1", "root-2", "root-3", "targets", "online"):
        assert stat.S_IMODE((folder / f"keys/{name}.pem").stat().st_mode) == 0o600
    status = git(folder, "status", "--porcelain", "-uall")
    assert "keys/1.root.json" in status and ".pem" not in status and "repository" not in status
    published = publisher.metadata("targets")
    for name in ("root-1", "root-2", "root-3", "targets"):
        (folder / f"keys/{name}.pem").rename(folder / f"{name}.offline")
    before = (folder / "repository/metadata/timestamp.json").read_bytes()
    publisher.crown(publisher.ids[0])
    assert before != (folder / "repository/metadata/timestamp.json").read_bytes()
    assert publisher.metadata("targets") == published, "renewed without the keys that are offline"
    with pytest.raises(AssertionError, match="Cannot sign the targets: .*keys are targets"):
        publisher.crown(publisher.ids[1])
    assert publisher.metadata("targets") == published
    refused = run_in(folder, "python", "-m", "scratch_detector", "rotate", "online")
    assert refused.returncode and "signed by 0/2 keys" in refused.stderr
    assert not (folder / "keys/2.root.json").exists()


def test_first_update_no_op_and_signed_rollback(publisher: Publisher, device: Device) -> None:
    first, second = publisher.ids
    assert device.update()[0] == 0 and device.state() == {"good": "", "trial": first, "bad": ""}
    device.write_state(good=first, trial="")
    with web(str(publisher.folder / "repository")) as (url, asked):
        device.set(update_url=url)
        assert device.update()[0] == 0 and device.state() == {"good": first, "trial": "", "bad": ""}
    assert asked and all("/targets/" not in path for path in asked), "nothing was fetched again"
    with web(str(publisher.folder / "repository")) as (url, _):
        device.set(update_url=url)
        publisher.crown(second)
        device.has(second)
        publisher.crown(first)
        assert device.update()[0] == 0 and device.state()["trial"] == first
        publisher.crown(second)
        assert device.update()[0] == 0 and device.state()["trial"] == "", "taken back in its trial"


def forge(publisher: Publisher, **changes: object) -> None:
    """Publish a release whose first gate is another one."""
    publisher.python(FORGE.replace("CHANGES", str(changes)))


def foreign(publisher: Publisher) -> None:
    for path in [*(publisher.folder / "keys").glob("*.root.json"), publisher.metadata("snapshot")]:
        path.unlink()
    publisher.crown(publisher.ids[1])


def other_release_key(publisher: Publisher) -> None:
    for path in (publisher.folder / "keys").glob("release.*"):
        path.unlink()
    forge(publisher, passed=True)


def faulty(kind: str, before: str, publisher: Publisher) -> None:
    publisher.crown(release(publisher.folder, kind, before))


def spoiled(publisher: Publisher, name: str) -> None:
    publisher.crown(publisher.ids[1])
    paths = sorted((publisher.folder / "repository").rglob(name), key=lambda p: p.stat().st_mtime)
    damage(paths[-1])


def stale(publisher: Publisher) -> None:
    publisher.python(
        "from scratch_detector.fleet import publish\n"
        "publish.DAYS['timestamp'] = 0; publish.publish()"
    )


ATTACKS: dict[str, tuple[Callable[[Publisher], object], str]] = {
    "tampered model": (lambda p: spoiled(p, "*.model.onnx"), "LengthOrHashMismatchError"),
    "tampered targets": (lambda p: spoiled(p, "*.targets.json"), "No update from"),
    "tampered timestamp": (lambda p: spoiled(p, "timestamp.json"), "No update from"),
    "foreign keys": (foreign, "UnsignedMetadataError: timestamp was signed by 0/1 keys"),
    "expired": (stale, "ExpiredMetadataError: timestamp.json is expired"),
    "root below": (lambda p: p.python(BELOW), "UnsignedMetadataError: root was signed by 1/2 keys"),
    "broken gate": (lambda p: forge(p, observed=9, passed=False), "must hold kept promises only"),
    "verdict against its numbers": (lambda p: forge(p, passed=False), "but the numbers say True"),
    "other release key": (other_release_key, "was not signed with keys/release.pub"),
    "nan": (lambda p: faulty("nan", "", p), "answers zeros with what is no number"),
    "newer opset": (lambda p: faulty("newer-opset", ELSEWHERE, p), "is not a model of this project"),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_and_the_last_good_one_answers(
    attack: Callable[[Publisher], object], words: str, publisher: Publisher, device: Device
) -> None:
    device.has(publisher.ids[0])
    attack(publisher)
    assert words in device.refused()


def test_an_old_repository_is_no_news(publisher: Publisher, device: Device) -> None:
    repository = publisher.folder / "repository"
    shutil.copytree(repository, publisher.folder / "replayed")
    publisher.crown(publisher.ids[1])
    device.has(publisher.ids[1])
    shutil.rmtree(repository)
    (publisher.folder / "replayed").rename(repository)
    assert "BadVersionNumberError" in device.refused()


def test_a_model_over_the_promised_size_is_not_fetched(cast: Publisher, device: Device) -> None:
    scope = device.folder / "scope.yaml"
    scope.write_text(re.sub(r"max_model_mb: [\d.]+", "max_model_mb: 0.001", scope.read_text()))
    assert "MB, more than 0.001" in device.refused()
    assert not list((device.folder / "data/models").rglob("model.onnx"))


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("cut", "model.onnx"),
        ("cut", "manifest.dsse"),
        ("endless", "model.onnx"),
        ("endless", "timestamp"),
        ("trickle", "model.onnx"),
    ],
)
def test_a_bad_link_is_survived_and_the_next_look_goes_on(
    fault: str, word: str, publisher: Publisher, device: Device, server: str
) -> None:
    device.has(publisher.ids[0])
    publisher.crown(publisher.ids[1])
    repository = str(publisher.folder / "repository")
    with web(repository, fault, word) as (url, _):
        device.set(update_url=url)
        if fault == "trickle":
            device.set(update_every_s=3)
            assert device.update()[0] == -signal.SIGALRM, "an update ends before the next begins"
        else:
            device.refused()
    device.set(update_every_s=3600)
    fetched = {path.name for path in (device.folder / "data/models/drafts").glob("*/*")}
    assert len(fetched) == (7 if word == "manifest.dsse" else 0)
    with web(repository) as (url, asked):
        device.set(update_url=url)
        device.has(publisher.ids[1])
    again = {path.split(".", 1)[1] for path in asked if "/targets/" in path}
    assert (
        again
        == {
            path.name
            for path in next((device.folder / "data/models").glob(publisher.ids[1])).iterdir()
        }
        - fetched
    )
    device.look()


def test_without_a_server_all_stays(publisher: Publisher, device: Device) -> None:
    device.has(publisher.ids[0])
    device.set(update_url="http://127.0.0.1:9")
    assert "No update from http://127.0.0.1:9" in device.refused()
    device.set(update_url='""')
    assert "update_url in params.yaml" in device.update()[1]


def test_keys_rotate(publisher: Publisher, device: Device) -> None:
    device.has(publisher.ids[0])
    for name in ("online", "root-1", "targets"):
        command(publisher.folder, "rotate", name)
        command(publisher.folder, "publish")
        assert device.update()[0] == 0
    (publisher.folder / "keys/root-2.pem").unlink()  # lost: the other two say so
    command(publisher.folder, "rotate", "root-2")
    publisher.crown(publisher.ids[1])
    assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]
    old = publisher.folder / "keys/1.root.json"
    assert old.exists() and (publisher.folder / "keys/5.root.json").exists()


def test_a_key_that_was_replaced_signs_nothing_more(publisher: Publisher, device: Device) -> None:
    device.has(publisher.ids[0])
    stolen = (publisher.folder / "keys/online.pem").read_bytes()
    command(publisher.folder, "rotate", "online")
    command(publisher.folder, "publish")
    assert device.update()[0] == 0
    (publisher.folder / "keys/online.pem").write_bytes(stolen)
    publisher.python(
        "from scratch_detector.fleet import publish\n"
        "publish.Root.verify_delegate = lambda *_: None\npublish.publish()"
    )
    assert "UnsignedMetadataError: timestamp was signed by 0/1 keys" in device.refused()


def test_through_a_proxy(publisher: Publisher, device: Device, server: str) -> None:
    with web("proxy") as (proxy, asked):
        assert device.update(http_proxy=proxy, no_proxy="")[0] == 0
    assert f"{server}/metadata/timestamp.json" in asked
    assert device.state()["trial"] == publisher.ids[0]


def fill(folder: Path) -> None:
    file = (folder / "filler").open("wb", buffering=0)
    with file, pytest.raises(OSError, match="28"):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_keeps_the_last_good_one(publisher: Publisher, device: Device) -> None:
    models = device.folder / "data/models"
    models.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(models)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("A DISK THAT IS FULL WAS NOT TRIED: mounts are not permitted here")
    try:
        device.has(publisher.ids[0])
        publisher.crown(publisher.ids[1])
        fill(models)
        assert "No space left" in device.refused()
        (models / "filler").unlink()
        assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]
        fill(models)
        good = (models / publisher.ids[0] / "model.onnx").read_bytes()
        assert device.look()[0] == sha256(good).hexdigest(), "uncounted"
        assert device.state()["trial"] == publisher.ids[1] and device.state()["bad"] == ""
    finally:
        subprocess.run(["umount", str(models)], check=True)


def test_a_running_device_follows_and_decides_all_the_time(
    publisher: Publisher, device: Device
) -> None:
    first, second = publisher.ids
    device.set(update_every_s=1)
    files = 0
    with looping(device) as process:
        for id in (first, second, first):
            publisher.crown(id)
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
    lines = device.decided()
    assert len(lines) == files and all("label" in json.loads(line) for line in lines)


def test_a_model_that_fails_in_its_trial_is_left_and_not_tried_again(
    publisher: Publisher, device: Device
) -> None:
    device.has(publisher.ids[0])
    bad = release(publisher.folder, "unready")
    publisher.crown(bad)
    device.set(update_every_s=1)
    with looping(device) as process:
        until(lambda: device.state()["trial"] == bad)
        device.put("one")
        until(lambda: device.state() == {"good": publisher.ids[0], "trial": "", "bad": [bad]})
        until(device.decided)
        looks = device.metric("checked")
        until(lambda: device.metric("checked") >= looks + 3)
        assert (device.metric("tried"), device.metric("returned")) == (1, 1)
        assert device.state() == {"good": publisher.ids[0], "trial": "", "bad": [bad]}
        assert process.poll() is None
    (decision,) = device.decided()
    assert "label" in json.loads(decision), "the last good one decided on what it failed on"
    device.set(update_every_s=3600)  # one by hand may take longer than the looks of the loop
    publisher.crown(publisher.ids[1])
    assert device.update()[0] == 0 and device.state()["trial"] == publisher.ids[1]


def test_a_trial_that_dies_three_times_is_over(publisher: Publisher, device: Device) -> None:
    device.has(publisher.ids[0])
    publisher.crown(publisher.ids[1])
    assert device.update()[0] == 0
    device.set(update_url='""')
    for _ in range(3):
        with looping(device) as process:
            process.kill()
        assert device.state()["trial"] == publisher.ids[1]
    good = device.folder / "data/models" / publisher.ids[0] / "model.onnx"
    assert device.look()[0] == sha256(good.read_bytes()).hexdigest()
    assert device.state() == {"good": publisher.ids[0], "trial": "", "bad": [publisher.ids[1]]}


def test_a_slot_that_the_disk_spoiled_is_fetched_anew(publisher: Publisher, device: Device) -> None:
    device.has(publisher.ids[0])
    damage(device.folder / "data/models" / publisher.ids[0] / "model.onnx")
    installed = (device.folder / "models/shipped.onnx").read_bytes()
    process = device.start("-c", LOOK.replace("registry.verify_folder(folder)", "pass"))
    out, said = process.communicate(timeout=60)
    assert json.loads(out)[0] == sha256(installed).hexdigest(), said
    assert "Back to the installed model" in said
    device.has(publisher.ids[0]).look()


@pytest.mark.long
def test_sixty_deaths_leave_a_whole_model(publisher: Publisher, device: Device) -> None:
    first, second = publisher.ids
    device.has(first)
    publisher.crown(second)
    process = device.start("-c", DIE, first, second)
    out, said = process.communicate(timeout=1200)
    assert process.returncode == 0, said[-3000:]
    stages = json.loads(out)
    assert sum(stages.values()) == 61 and stages["-9 old"] >= 10, stages
