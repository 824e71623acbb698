"""Incomplete, unsigned or bad releases are rejected, in a real render.

Each test damages a copy of a project with two releases in use and a third as a candidate.
"""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from environment import ROOT
from repository import damage, done, run_in
from server import REPLACE, Server, command, roll_out, serving, with_latency_limit

Released = tuple[Path, dict[str, str]]  # a project, and the ids: first, second and third
THREE = """
import hashlib, onnx
from scratch_detector.pipeline import card, check
from scratch_detector.releases import release, rollout
from scratch_detector.artifacts import SHIPPED, read_report, write_report
for number in range(3):
    model = onnx.load(SHIPPED)
    model.metadata_props.add(key="copy", value=str(number))
    onnx.save(model, SHIPPED)
    sha256 = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    write_report("evaluate", read_report("evaluate") | {"model_sha256": sha256})
    check.check()
    card.card()
    release.release()
"""
# Run a command repeatedly in a process that is killed: at its first call of certain functions, at
# its second, and so on, then at random moments. Each time, run the command again afterwards.
DIE = """
import json, os, pathlib, random, shutil, signal, sys, time
from scratch_detector import cli
from scratch_detector.releases.registry import RELEASES, read_rollout, verify_release

def start(calls_to_live=10**9):
    def counted(real):
        def call(*arguments, **options):
            nonlocal calls_to_live
            calls_to_live -= 1
            return real(*arguments, **options) if calls_to_live >= 0 else os.kill(os.getpid(), 9)
        return call
    if pid := os.fork():
        return pid
    for name in sys.argv[2:]:
        setattr(os, name, counted(getattr(os, name)))
    try:
        cli.run(sys.argv[1])
        os._exit(0)
    finally:
        os._exit(1)

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def in_use():
    return read_rollout() if (RELEASES / "rollout.json").exists() else None

def put_back():
    pathlib.Path("data/rollout.json").unlink(missing_ok=True)
    for name in ("releases", "keys"):
        shutil.rmtree(name)
        if sys.argv[1] == "rollback":
            shutil.copytree(f"../kept/{name}", name)
        else:
            os.mkdir(name)

def die(calls_to_live=10**9, seconds_to_live=0):
    put_back()
    pid = start(calls_to_live)
    if seconds_to_live:
        time.sleep(seconds_to_live)
        os.kill(pid, signal.SIGKILL)
    died = wait(pid)
    assert in_use() in (before, after), in_use()
    for folder in RELEASES.glob("[0-9a-f]*/"):
        assert verify_release(folder.name)
    assert wait(start()) == 0 and in_use() == after and verify_release(after.champion)
    assert not list(RELEASES.glob(".part-*"))
    return died

shutil.copytree(".", "../kept", symlinks=True)
put_back()
before, began, done = in_use(), time.monotonic(), wait(start())
after, lasted_s, calls = in_use(), time.monotonic() - began, 0
while die(calls_to_live=calls) == -signal.SIGKILL:
    calls += 1
for _ in range(10):
    die(seconds_to_live=random.random() * lasted_s)
print("died at each of", calls, "calls")
"""
# Run two commands at the same time in two processes, thirty times; print the releases in use.
TOGETHER = """
import json, os, sys
from scratch_detector import cli
from scratch_detector.releases import registry
run = lambda *command: os.dup2(2, 1) and cli.run(*command) or 0
for _ in range(30):
    registry.write_rollout(registry.Rollout(**json.loads(sys.argv[1])))
    pids = [os.fork() or os._exit(run(*command)) for command in json.loads(sys.argv[2])]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    now = registry.read_rollout()
    print(now.champion, now.withdrawn, now.challenger, sep="/", flush=True)
"""


def make(folder: Path, target: str, *arguments: str) -> str:
    return done(run_in(folder, "make", "-s", target, *arguments))


def expect_refusal(folder: Path, *command: str) -> str:
    """Return the error of a command, which must not change the releases in use."""
    before = in_use(folder)
    result = run_in(folder, "python", "-m", "scratch_detector", *command)
    assert result.returncode != 0 and "Traceback" not in result.stderr, result.stderr
    assert in_use(folder) == before
    return result.stderr


def in_use(folder: Path) -> Any:
    rollout = json.loads((folder / "releases" / "rollout.json").read_text())
    return {name: id for name, id in rollout.items() if name not in ("number", "signatures")}


def manifests(folder: Path) -> dict[str, Any]:
    paths = (folder / "releases").glob("*/manifest.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


@pytest.fixture(scope="module")
def releases(modelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Released:
    folder = tmp_path_factory.mktemp("released") / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    done(run_in(folder, "python", "-c", THREE))
    ids = {manifest["name"].partition("@v")[2]: id for id, manifest in manifests(folder).items()}
    make(folder, "challenge", f"RELEASE={ids['2']}")
    roll_out(folder, champion=ids["2"], previous=ids["1"])  # as `promote` would, with a server
    return folder, {"first": ids["1"], "second": ids["2"], "third": ids["3"]}


@pytest.fixture
def project(releases: Released, tmp_path: Path) -> Path:
    shutil.copytree(releases[0], tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def test_the_manifest_has_the_origin_and_git_ignores_the_key(releases: Released) -> None:
    folder, ids = releases
    manifest = manifests(folder)[ids["first"]]
    assert manifest["name"] == "scratch-detector@v1" and manifest["data"]["data/raw"].endswith(
        ".dir"
    )
    assert len(manifest["files"]) == 6 and manifest["created_at"].endswith("+00:00")
    status = done(run_in(folder, "git", "status", "--porcelain", "-uall"))
    assert "keys/release.pub" in status and ".pem" not in status and "?? releases" not in status


def test_a_second_rollback_changes_nothing(project: Path, releases: Released) -> None:
    ids = releases[1]
    assert ids["second"] in make(project, "rollback")
    after = {"champion": ids["first"], "withdrawn": ids["second"], "previous": None}
    assert in_use(project) == after | {"challenger": None}
    assert "done already" in make(project, "rollback")
    assert in_use(project) == after | {"challenger": None}


def test_rejects_a_changed_byte_in_any_file(project: Path, releases: Released) -> None:
    paths = sorted((project / "releases" / releases[1]["first"]).iterdir())
    assert len(paths) == 8
    for path in paths:
        content = path.read_bytes()
        damage(path)
        assert path.name in expect_refusal(project, "rollback")
        path.write_bytes(content)
    make(project, "rollback")


def test_rejects_a_release_with_other_files_or_another_key(
    project: Path, releases: Released
) -> None:
    third = releases[1]["third"]
    folder, key = project / "releases" / third, project / "keys" / "release.pub"
    (folder / "sitecustomize.py").touch()
    assert "sitecustomize.py is not a file of a release" in expect_refusal(
        project, "challenge", third
    )
    (folder / "sitecustomize.py").unlink()
    (folder / "gates.json").rename(project / "gates.json")
    assert "gates.json is missing" in expect_refusal(project, "challenge", third)
    (folder / "gates.json").symlink_to(project / "gates.json")
    assert "is a link" in expect_refusal(project, "challenge", third)
    (folder / "gates.json").unlink()
    (project / "gates.json").rename(folder / "gates.json")
    own_key = key.read_bytes()
    done(run_in(project, "openssl", "genpkey", "-algorithm", "ed25519", "-out", "foreign.pem"))
    done(run_in(project, "openssl", "pkey", "-in", "foreign.pem", "-pubout", "-out", str(key)))
    assert "was not signed with keys/release.pub" in expect_refusal(project, "challenge", third)
    key.write_bytes(own_key)
    assert third in make(project, "challenge", f"RELEASE={third}")


def test_rejects_models_that_do_not_meet_their_limits(project: Path) -> None:
    reports, known = project / "reports", manifests(project)
    gates, compressed = reports / "gates.json", reports / "compress.json"
    original, size = gates.read_text(), compressed.read_text()
    gates.unlink()
    assert "reports/gates.json: No such file" in expect_refusal(project, "release")
    gates.write_text(original)
    compressed.write_text(json.dumps(json.loads(size) | {"size_mb": 1e6}))
    assert run_in(project, "python", "-m", "scratch_detector", "check").returncode != 0
    assert "model_size: 1e+06, limit <=" in expect_refusal(project, "release")
    gates.write_text(gates.read_text().replace('"passed": false', '"passed": true'))
    assert "model_size: 1e+06, limit <=" in expect_refusal(project, "release")
    compressed.write_text(size)
    assert "reports/gates.json is out of date: model_size was " in expect_refusal(
        project, "release"
    )
    gates.write_text(original)
    damage(project / "models" / "shipped.onnx")
    assert "reports/evaluate.json is about the model" in expect_refusal(project, "release")
    assert manifests(project) == known


@pytest.mark.parametrize("calls", ["release mkdir replace", "rollback open fsync replace"])
def test_a_kill_at_any_moment_leaves_a_valid_state(project: Path, calls: str) -> None:
    """The old or the new releases are in use, and the next run succeeds."""
    printed = done(run_in(project, "python", "-c", DIE, *calls.split()))
    deaths = re.search(r"died at each of (\d+) calls", printed)
    assert deaths and int(deaths[1]) >= 4


def test_simultaneous_commands_lose_no_change(project: Path, releases: Released) -> None:
    """After a rollback and a challenge at the same time, both are done."""
    ids, kept = releases[1], in_use(project)
    both = [["rollback"], ["challenge", ids["third"]]]
    printed = done(run_in(project, "python", "-c", TOGETHER, json.dumps(kept), json.dumps(both)))
    assert set(printed.split()) == {f"{ids['first']}/{ids['second']}/{ids['third']}"}


def until(server: Server, name: str, value: str) -> None:
    """Wait until the server says so in `/readyz`."""
    deadline_s = time.monotonic() + 30
    while server.ask("/readyz").json[name] != value:
        assert time.monotonic() < deadline_s, server.ask("/readyz").json
        time.sleep(0.05)


def make_evil(project: Path) -> None:
    """Write a model that gives other labels."""
    script = str(ROOT / "tests/support/inside/fabricate.py")
    command = ("python", script, "turned", "models/shipped.onnx", "evil.onnx")
    done(run_in(project, *command))


CHAMPION_OF_RETRAINING = """
import hashlib
from scratch_detector.retraining.compare import find_champion
print(hashlib.sha256(find_champion()[1]).hexdigest())
"""


def test_only_bytes_that_were_verified_answer(project: Path, releases: Released) -> None:
    """At the start, as a challenger, and after a switch: each model is replaced after its check."""
    signed = {id: manifest["files"]["model.onnx"] for id, manifest in manifests(project).items()}
    make_evil(project)
    command(project, "example")
    ids = releases[1]
    settings = REPLACE + with_latency_limit(5000, canary__STEPS="(1.0,)")
    with serving(project, settings, command="serve") as server:
        assert server.ask("/readyz").json["model_sha256"] == signed[ids["second"]]
        label = server.ask().json["label"]
        roll_out(project, champion=ids["second"], challenger=ids["first"])
        deadline_s = time.monotonic() + 30
        while server.challenger_share(ids["first"]) < 1 and time.monotonic() < deadline_s:
            time.sleep(0.05)
        reply = server.ask().json
        assert (reply["model_sha256"], reply["label"]) == (signed[ids["first"]], label)
        roll_out(project, champion=ids["third"])
        until(server, "release", ids["third"])
        reply = server.ask().json
        assert (reply["model_sha256"], reply["label"]) == (signed[ids["third"]], label)
    for id in signed:  # they really were replaced
        replaced = (project / "releases" / id / "model.onnx").read_bytes()
        assert replaced == (project / "evil.onnx").read_bytes()


def test_retraining_compares_with_the_verified_model(project: Path, releases: Released) -> None:
    make_evil(project)
    signed = manifests(project)[releases[1]["second"]]["files"]["model.onnx"]
    printed = done(run_in(project, "python", "-c", REPLACE + CHAMPION_OF_RETRAINING))
    assert printed.split() == [signed]


def test_no_earlier_or_unsigned_rollout_is_served(project: Path, releases: Released) -> None:
    """Withdrawn by hand, an earlier file again, another key, a number by hand, and no signature."""
    ids, path = releases[1], project / "releases" / "rollout.json"
    command(project, "example")
    earlier = path.read_text()
    make(project, "rollback")
    current = path.read_text()
    unsigned = json.dumps({"champion": ids["second"], "withdrawn": ids["second"]})
    raised = json.loads(earlier) | {"number": json.loads(current)["number"] + 1}
    swapped = json.loads(current) | {"champion": ids["third"]}
    foreign = project.parent / "foreign"
    shutil.copytree(project, foreign, symlinks=True)
    shutil.rmtree(foreign / "keys")
    (foreign / "keys").mkdir()
    roll_out(foreign, champion=ids["third"])
    fakes = [earlier, unsigned, json.dumps(raised), json.dumps(swapped)]
    fakes.append((foreign / "releases" / "rollout.json").read_text())
    with serving(project, with_latency_limit(5000), command="serve") as server:
        for number, fake in enumerate(fakes, 1):
            path.write_text(fake)
            deadline_s = time.monotonic() + 30
            while server.metric('switches_total{outcome="refused"}') < number:
                assert time.monotonic() < deadline_s, fake
                time.sleep(0.05)
            assert server.metric("rollout_mismatch") == 1
            assert server.ask("/readyz").json["release"] == ids["first"]
        path.write_text(current)
        while server.metric("rollout_mismatch"):
            time.sleep(0.05)
    for fake in fakes:  # nor after a restart, nor by a command
        path.write_text(fake)
        assert "rollout.json" in expect_refusal(project, "serve")
        assert "rollout.json" in expect_refusal(project, "promote")
    assert ids["third"] in make(project, "restore", f"RELEASE={ids['third']}")
    assert in_use(project)["champion"] == ids["third"]


def test_a_variable_of_make_is_no_shell_command(project: Path) -> None:
    for value in ("x; touch mark", "x'; touch mark; '", "$(shell touch mark)", "`touch mark`"):
        result = run_in(project, "make", "challenge", f"RELEASE={value}")
        assert result.returncode and "has no release" in result.stderr
    assert not (project / "mark").exists()
