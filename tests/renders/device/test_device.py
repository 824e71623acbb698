"""What `make deb` made, on a real systemd: it starts, is started again, keeps its limits, goes."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from containers import Docker, device, engine, when_there
from environment import environment, requirements, variables
from test_pipeline import make

pytestmark = pytest.mark.container
MACHINE, NAME = "device-test", "scratch-detector"
HOME, STATE, SETTINGS = f"/opt/{NAME}", f"/var/lib/{NAME}", f"/etc/{NAME}"
PACKED = f"/root/{NAME}_0.1.0_amd64"
OTHER_UNIT = f"/etc/systemd/system/{NAME}.service.d"
PLACES = [HOME, f"/usr/bin/{NAME}"]
PLACES += [
    f"/usr/lib/systemd/system/{way}{NAME}.service" for way in ("", "multi-user.target.wants/")
]
PLACES += [f"/usr/lib/{kind}.d/{NAME}.conf" for kind in ("sysusers", "tmpfiles")]
MOST_MB = 150  # installed, and in memory
ASK = f"""
import sys
from http.client import HTTPConnection
from socket import AF_UNIX, socket
asking = HTTPConnection("device")
asking.sock = socket(AF_UNIX)
asking.sock.connect("{STATE}/decide.sock")
asking.request("POST", "/decide", sys.stdin.buffer.read())
print(asking.getresponse().read().decode())
"""
SENT = f"""
import sqlite3
print(*sqlite3.connect("{STATE}/collected.db").execute("SELECT count(*) FROM events").fetchone())
"""
HOG = "kept = b'x' * 400_000_000; print(len(kept))"  # more bytes than MemoryMax
On = Callable[..., str]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with engine() as docker:
        yield docker


@pytest.fixture(scope="module")
def on(docker: Docker, deployable: Path) -> Iterator[On]:
    """A machine; in /root are what was packed, `install.sh` and a payload."""
    env = variables(deployable, environment(requirements(deployable, "serve", "train", "dev")))
    for target in ("release", "publish", "deb"):
        make(deployable, target, env)
    with device(docker, MACHINE) as on:
        for path in ("data/example.png", "deploy/device/install.sh", "dist/.", "repository"):
            docker("cp", f"{deployable}/{path}", f"{MACHINE}:/root")
        on("chmod", "a+rx", "/root")
        on("useradd", "camera")
        yield on


@pytest.fixture
def installed(on: On) -> Iterator[On]:
    """The same with the .deb installed, and nothing of it left afterwards."""
    on("dpkg", "--install", f"{PACKED}.deb")
    yield on
    on("rm", "-rf", OTHER_UNIT)
    on("dpkg", "--purge", NAME)


def shown(on: On, name: str) -> str:
    """What systemd says of the loop."""
    return on("systemctl", "show", "--value", f"--property={name}", NAME)


def running(on: On) -> str:
    """The id of the process, once it is ready."""
    when_there(lambda: shown(on, "ActiveState") == "active")
    return shown(on, "MainPID")


def signal(on: On, name: str | int, pid: str) -> None:
    on("sh", "-c", f"kill -{name} {pid}")


def changed(on: On, *lines: str) -> None:
    """Start it again with other lines in its unit, as `systemctl edit` writes them."""
    text = "\n".join(["[Service]", *lines, ""])
    on("sh", "-c", f"mkdir -p {OTHER_UNIT} && printf '%s' '{text}' > {OTHER_UNIT}/test.conf")
    on("systemctl", "daemon-reload")
    on("systemctl", "reset-failed", NAME)
    on("systemctl", "--no-block", "restart", NAME)


def said(on: On) -> str:
    return on("journalctl", "--no-pager", "--unit", NAME)


def decisions(on: On) -> list[dict[str, Any]]:
    return [json.loads(line) for line in on(NAME, "outbox").splitlines()]


def put(on: On, group: str) -> str:
    """Hand in a payload as another program does, in a group of its own or in that of the loop."""
    move = f"cp /root/example.png {STATE}/inbox/.new && mv {STATE}/inbox/.new {STATE}/inbox/new.png"
    who = ["--reuid=camera", f"--regid={group}", "--clear-groups"]
    return on("setpriv", *who, "sh", "-c", f"umask 077; {move}; chmod g+r {STATE}/inbox/new.png")


def answers(on: On) -> bool:
    """Whether a payload gets a decision of the model."""
    running(on)
    before = len(decisions(on))
    on("cp", "/root/example.png", f"{STATE}/inbox/.new")
    on("mv", f"{STATE}/inbox/.new", f"{STATE}/inbox/new.png")
    when_there(lambda: len(decisions(on)) > before)
    return decisions(on)[-1]["label"] in ("clean", "scratched")


def hog(on: On) -> str:
    """Take memory inside of the limit of the loop, as a process beside it would."""
    file = f"$top{shown(on, 'ControlGroup')}/cgroup.procs"
    tops = "/sys/fs/cgroup/memory /sys/fs/cgroup"  # version 1, or 2
    into = f"for top in {tops}; do if [ -e {file} ]; then echo $$ > {file}; break; fi; done"
    return on("sh", "-c", f'{into}; exec python3.11 -c "{HOG}"')


def left(on: On, *places: str) -> list[str]:
    """Those of the places in which something still is."""
    look = 'for place; do [ ! -e "$place" ] && [ ! -L "$place" ] || echo "$place"; done'
    return on("sh", "-c", look, "sh", *places).split()


def test_installed_it_decides_without_a_network_and_is_small(installed: On) -> None:
    assert answers(installed) and left(installed, *PLACES) == PLACES
    memory_kb = re.findall(
        r"VmHWM:\s+(\d+)", installed("cat", f"/proc/{running(installed)}/status")
    )
    disk_kb = installed("du", "-s", "-k", HOME).split()[0]
    print(f"{int(memory_kb[0])} kB of memory, {disk_kb} kB on disk")
    assert int(memory_kb[0]) * 1024 < MOST_MB * 1e6 and int(disk_kb) * 1024 < MOST_MB * 1e6
    assert not installed("find", "/", "-xdev", "-name", "*onnxruntime.db*", "-o", "-name", "torch")
    assert "put" in installed(NAME, "--help") and "cpuinfo" not in said(installed)


def test_its_group_may_hand_in_payloads_and_nobody_else(installed: On) -> None:
    running(installed)
    put(installed, NAME)
    when_there(lambda: len(decisions(installed)) == 1)
    assert decisions(installed)[0]["file"] == "new.png"
    with pytest.raises(AssertionError, match="Permission denied"):
        put(installed, "camera")


def test_inside_its_limits_it_sends_is_renewed_and_is_asked(installed: On, docker: Docker) -> None:
    site = ["python3.11", "-m", "http.server", "8002", "--bind=127.0.0.1", "--directory"]
    for command in ([NAME, "collect"], [*site, "/root/repository"]):
        docker("exec", "--detach", MACHINE, *command)
    for name, place in (("upload_url", "8001/events"), ("update_url", "8002")):
        change = f's|^{name}: ""|{name}: http://127.0.0.1:{place}|'
        installed("sed", "-i", change, f"{SETTINGS}/params.yaml")
    changed(installed)
    running(installed)
    put(installed, NAME)
    when_there(lambda: installed("python3.11", "-c", SENT) == "1")
    metrics = ["sh", "-c", f"cat {STATE}/metrics.prom || true"]
    when_there(lambda: 'updates_total{outcome="checked"} 1.0' in installed(*metrics))
    assert json.loads(installed("cat", f"{STATE}/models/state.json"))["trial"]
    who = ["setpriv", "--reuid=camera", f"--regid={NAME}", "--clear-groups"]
    asked = " ".join(who) + f" python3.11 -c '{ASK}' < /root/example.png"
    assert json.loads(installed("sh", "-c", asked))["label"] in ("clean", "scratched")


def test_it_may_write_its_state_only_and_rise_nowhere(installed: On) -> None:
    status = installed("cat", f"/proc/{running(installed)}/status")
    assert set(re.findall(r"^Cap\w+:\s+(\w+)$", status, re.M)) == {"0" * 16}
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(
        r"^Seccomp:\s+2$", status, re.M
    )
    inside = installed("cat", f"/proc/{running(installed)}/mountinfo")
    mounts = {line.split()[4]: line.split()[5].split(",")[0] for line in inside.splitlines()}
    assert mounts["/"] == "ro" and mounts[STATE] == "rw"
    others = ["(", "-not", "-user", "root", "-o", "-perm", "/022", ")", "-not", "-type", "l"]
    assert installed("find", HOME, *others) == ""


def test_killed_it_is_started_again_and_loses_nothing(installed: On) -> None:
    assert answers(installed)
    before, old = decisions(installed), running(installed)
    signal(installed, 9, old)
    when_there(lambda: shown(installed, "NRestarts") == "1")
    assert running(installed) != old and decisions(installed) == before and answers(installed)


def test_hanging_it_is_started_again(installed: On) -> None:
    assert shown(installed, "WatchdogUSec") == "30s"
    changed(installed, "WatchdogSec=4")
    old = running(installed)
    signal(installed, "STOP", old)
    when_there(lambda: shown(installed, "NRestarts") == "1")
    assert (
        running(installed) != old and answers(installed) and "Watchdog timeout" in said(installed)
    )


def test_without_a_watchdog_it_would_hang_for_ever(installed: On) -> None:
    changed(installed, "WatchdogSec=0")
    old = running(installed)
    signal(installed, "STOP", old)
    installed("sleep", "10")
    assert (shown(installed, "NRestarts"), shown(installed, "MainPID")) == ("0", old)
    signal(installed, "CONT", old)


def test_with_a_filter_that_looks_better_it_is_killed_at_the_start(installed: On) -> None:
    worse = ["SystemCallFilter=", "SystemCallFilter=@system-service", "SystemCallErrorNumber="]
    changed(installed, *worse, "SystemCallFilter=~@privileged @resources", "Restart=no")
    when_there(lambda: shown(installed, "ActiveState") == "failed")
    assert shown(installed, "ExecMainStatus") == "31"  # SIGSYS
    changed(installed)
    assert answers(installed)


def test_what_takes_too_much_memory_beside_it_is_killed(installed: On) -> None:
    old = running(installed)
    with pytest.raises(AssertionError):
        hog(installed)
    assert running(installed) == old and answers(installed)
    changed(installed, "MemoryMax=infinity")
    running(installed)
    assert hog(installed) == "400000000"


def test_taking_too_much_memory_itself_it_is_started_again(installed: On) -> None:
    changed(installed, "MemoryMax=30M", "MemorySwapMax=0")
    when_there(lambda: int(shown(installed, "NRestarts")) > 0)
    changed(installed)
    assert answers(installed)


def test_it_starts_on_boot(installed: On, docker: Docker) -> None:
    docker("restart", "--time=10", MACHINE)
    when_there(lambda: installed("sh", "-c", f"systemctl is-active {NAME} || true") == "active")
    assert answers(installed)


def test_masked_it_stays_off_over_an_upgrade(installed: On) -> None:
    installed("systemctl", "mask", "--now", NAME)
    installed("dpkg", "--install", f"{PACKED}.deb")
    assert shown(installed, "ActiveState") == "inactive"
    installed("systemctl", "unmask", NAME)


def test_an_upgrade_keeps_settings_and_a_removal_the_state(installed: On) -> None:
    assert answers(installed)
    before, old = decisions(installed), running(installed)
    installed("sed", "-i", "s/^device:.*/device: bench-7/", f"{SETTINGS}/params.yaml")
    for command in ("--install", "--remove", "--install"):
        what = NAME if command == "--remove" else f"{PACKED}.deb"
        installed("dpkg", "--force-confold", command, what)
        if command == "--remove":
            assert not left(installed, *PLACES) and shown(installed, "LoadState") == "not-found"
            assert left(installed, f"/proc/{old}") == []
        else:
            assert running(installed) != old and decisions(installed) == before
            assert "device: bench-7" in installed("cat", f"{HOME}/params.yaml")
        old = shown(installed, "MainPID")
    installed("dpkg", "--purge", NAME)
    assert not left(installed, *PLACES, STATE, SETTINGS, f"/proc/{old}")


def test_without_dpkg_it_is_installed_upgraded_and_removed_as_well(on: On) -> None:
    on("mv", "/usr/bin/dpkg", "/usr/bin/dpkg.away")
    install = ["sh", "/root/install.sh"]
    try:
        on(*install, f"{PACKED}.tar.gz")
        assert answers(on) and left(on, *PLACES) == PLACES
        before, old = decisions(on), running(on)
        on("sed", "-i", "s/^device:.*/device: bench-7/", f"{SETTINGS}/params.yaml")
        on("touch", f"{HOME}/lib/of-an-older-version.py")
        on(*install, f"{PACKED}.tar.gz")
        assert running(on) != old and decisions(on) == before
        assert "device: bench-7" in on("cat", f"{HOME}/params.yaml")
        assert not left(on, f"{HOME}/lib/of-an-older-version.py")
        on("sh", "-c", f"head -c 1000000 {PACKED}.tar.gz > /root/cut.tar.gz")
        with pytest.raises(AssertionError, match="unexpected end of file"):
            on(*install, "/root/cut.tar.gz")
        with pytest.raises(AssertionError, match="For devices without dpkg"):
            on(*install)
        assert answers(on)
        on(*install, "remove")
        assert not left(on, *PLACES) and left(on, STATE, SETTINGS) == [STATE, SETTINGS]
        on(*install, f"{PACKED}.tar.gz")
        assert len(decisions(on)) == len(before) + 1
        old = running(on)
        on(*install, "purge")
        assert not left(on, *PLACES, STATE, SETTINGS, f"/proc/{old}")
    finally:
        on("mv", "/usr/bin/dpkg.away", "/usr/bin/dpkg")
