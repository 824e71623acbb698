"""The package from `make deb` on a real systemd: install, restarts, limits, upgrade, removal."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from containers import Docker, device, engine, wait_for
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
MAX_MB = 150  # installed, and in memory
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
COUNT_EVENTS = f"""
import sqlite3
print(*sqlite3.connect("{STATE}/collected.db").execute("SELECT count(*) FROM events").fetchone())
"""
HOG = "block = b'x' * 400_000_000; print(len(block))"  # more than MemoryMax
On = Callable[..., str]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with engine() as docker:
        yield docker


@pytest.fixture(scope="module")
def on(docker: Docker, deployable: Path) -> Iterator[On]:
    """Start a machine with the package, `install.sh` and a payload in /root."""
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
    """Install the .deb on the machine, and purge it afterwards."""
    on("dpkg", "--install", f"{PACKED}.deb")
    yield on
    on("rm", "-rf", OTHER_UNIT)
    on("dpkg", "--purge", NAME)


def show(on: On, name: str) -> str:
    """Return a property of the service."""
    return on("systemctl", "show", "--value", f"--property={name}", NAME)


def wait_for_pid(on: On) -> str:
    """Wait until the service is active; return its process id."""
    wait_for(lambda: show(on, "ActiveState") == "active")
    return show(on, "MainPID")


def signal(on: On, name: str | int, pid: str) -> None:
    on("sh", "-c", f"kill -{name} {pid}")


def restart_with(on: On, *lines: str) -> None:
    """Restart the service with other lines in its unit, as with `systemctl edit`."""
    text = "\n".join(["[Service]", *lines, ""])
    on("sh", "-c", f"mkdir -p {OTHER_UNIT} && printf '%s' '{text}' > {OTHER_UNIT}/test.conf")
    on("systemctl", "daemon-reload")
    on("systemctl", "reset-failed", NAME)
    on("systemctl", "--no-block", "restart", NAME)


def journal(on: On) -> str:
    return on("journalctl", "--no-pager", "--unit", NAME)


def decisions(on: On) -> list[dict[str, Any]]:
    return [json.loads(line) for line in on(NAME, "outbox").splitlines()]


def put(on: On, group: str) -> str:
    """Put a payload into the inbox as the user `camera`, with this group."""
    move = f"cp /root/example.png {STATE}/inbox/.new && mv {STATE}/inbox/.new {STATE}/inbox/new.png"
    who = ["--reuid=camera", f"--regid={group}", "--clear-groups"]
    return on("setpriv", *who, "sh", "-c", f"umask 077; {move}; chmod g+r {STATE}/inbox/new.png")


def decides(on: On) -> bool:
    """Return whether the model decides on a payload."""
    wait_for_pid(on)
    before = len(decisions(on))
    on("cp", "/root/example.png", f"{STATE}/inbox/.new")
    on("mv", f"{STATE}/inbox/.new", f"{STATE}/inbox/new.png")
    wait_for(lambda: len(decisions(on)) > before)
    return decisions(on)[-1]["label"] in ("clean", "scratched")


def hog(on: On) -> str:
    """Allocate memory in the control group of the service, as its update process could."""
    file = f"$top{show(on, 'ControlGroup')}/cgroup.procs"
    tops = "/sys/fs/cgroup/memory /sys/fs/cgroup"  # version 1, or 2
    into = f"for top in {tops}; do if [ -e {file} ]; then echo $$ > {file}; break; fi; done"
    return on("sh", "-c", f'{into}; exec python3.11 -c "{HOG}"')


def existing(on: On, *places: str) -> list[str]:
    """Return the places that exist."""
    look = 'for place; do [ ! -e "$place" ] && [ ! -L "$place" ] || echo "$place"; done'
    return on("sh", "-c", look, "sh", *places).split()


def test_decides_without_a_network_and_is_small(installed: On) -> None:
    assert decides(installed) and existing(installed, *PLACES) == PLACES
    memory_kb = re.findall(
        r"VmHWM:\s+(\d+)", installed("cat", f"/proc/{wait_for_pid(installed)}/status")
    )
    disk_kb = installed("du", "-s", "-k", HOME).split()[0]
    print(f"{int(memory_kb[0])} kB of memory, {disk_kb} kB on disk")
    assert int(memory_kb[0]) * 1024 < MAX_MB * 1e6 and int(disk_kb) * 1024 < MAX_MB * 1e6
    assert not installed("find", "/", "-xdev", "-name", "*onnxruntime.db*", "-o", "-name", "torch")
    assert "put" in installed(NAME, "--help") and "cpuinfo" not in journal(installed)


def test_only_its_group_may_use_the_inbox(installed: On) -> None:
    wait_for_pid(installed)
    put(installed, NAME)
    wait_for(lambda: len(decisions(installed)) == 1)
    assert decisions(installed)[0]["file"] == "new.png"
    with pytest.raises(AssertionError, match="Permission denied"):
        put(installed, "camera")


def test_sandbox_allows_upload_update_and_socket(installed: On, docker: Docker) -> None:
    site = ["python3.11", "-m", "http.server", "8002", "--bind=127.0.0.1", "--directory"]
    for command in ([NAME, "collect"], [*site, "/root/repository"]):
        docker("exec", "--detach", MACHINE, *command)
    for name, place in (("upload_url", "8001/events"), ("update_url", "8002")):
        change = f's|^{name}: ""|{name}: http://127.0.0.1:{place}|'
        installed("sed", "-i", change, f"{SETTINGS}/params.yaml")
    restart_with(installed)
    wait_for_pid(installed)
    put(installed, NAME)
    wait_for(lambda: installed("python3.11", "-c", COUNT_EVENTS) == "1")
    metrics = ["sh", "-c", f"cat {STATE}/metrics.prom || true"]
    wait_for(lambda: 'updates_total{outcome="checked"} 1.0' in installed(*metrics))
    assert json.loads(installed("cat", f"{STATE}/models/state.json"))["trial"]
    who = ["setpriv", "--reuid=camera", f"--regid={NAME}", "--clear-groups"]
    script = " ".join(who) + f" python3.11 -c '{ASK}' < /root/example.png"
    assert json.loads(installed("sh", "-c", script))["label"] in ("clean", "scratched")


def test_service_has_no_privileges_and_writes_only_its_state(installed: On) -> None:
    status = installed("cat", f"/proc/{wait_for_pid(installed)}/status")
    assert set(re.findall(r"^Cap\w+:\s+(\w+)$", status, re.M)) == {"0" * 16}
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(
        r"^Seccomp:\s+2$", status, re.M
    )
    inside = installed("cat", f"/proc/{wait_for_pid(installed)}/mountinfo")
    mounts = {line.split()[4]: line.split()[5].split(",")[0] for line in inside.splitlines()}
    assert mounts["/"] == "ro" and mounts[STATE] == "rw"
    others = ["(", "-not", "-user", "root", "-o", "-perm", "/022", ")", "-not", "-type", "l"]
    assert installed("find", HOME, *others) == ""


def test_restarts_after_a_kill_without_losing_decisions(installed: On) -> None:
    assert decides(installed)
    before, old = decisions(installed), wait_for_pid(installed)
    signal(installed, 9, old)
    wait_for(lambda: show(installed, "NRestarts") == "1")
    assert wait_for_pid(installed) != old and decisions(installed) == before and decides(installed)


def test_watchdog_restarts_a_hanging_loop(installed: On) -> None:
    assert show(installed, "WatchdogUSec") == "30s"
    restart_with(installed, "WatchdogSec=4")
    old = wait_for_pid(installed)
    signal(installed, "STOP", old)
    wait_for(lambda: show(installed, "NRestarts") == "1")
    assert (
        wait_for_pid(installed) != old
        and decides(installed)
        and "Watchdog timeout" in journal(installed)
    )


def test_without_the_watchdog_a_hanging_loop_stays_hanging(installed: On) -> None:
    restart_with(installed, "WatchdogSec=0")
    old = wait_for_pid(installed)
    signal(installed, "STOP", old)
    installed("sleep", "10")
    assert (show(installed, "NRestarts"), show(installed, "MainPID")) == ("0", old)
    signal(installed, "CONT", old)


def test_stricter_system_call_filter_kills_the_loop_at_start(installed: On) -> None:
    stricter = ["SystemCallFilter=", "SystemCallFilter=@system-service", "SystemCallErrorNumber="]
    restart_with(installed, *stricter, "SystemCallFilter=~@privileged @resources", "Restart=no")
    wait_for(lambda: show(installed, "ActiveState") == "failed")
    assert show(installed, "ExecMainStatus") == "31"  # SIGSYS
    restart_with(installed)
    assert decides(installed)


def test_memory_limit_kills_another_process_of_the_service_only(installed: On) -> None:
    old = wait_for_pid(installed)
    with pytest.raises(AssertionError):
        hog(installed)
    assert wait_for_pid(installed) == old and decides(installed)
    restart_with(installed, "MemoryMax=infinity")
    wait_for_pid(installed)
    assert hog(installed) == "400000000"


def test_restarts_after_exceeding_its_memory_limit(installed: On) -> None:
    restart_with(installed, "MemoryMax=30M", "MemorySwapMax=0")
    wait_for(lambda: int(show(installed, "NRestarts")) > 0)
    restart_with(installed)
    assert decides(installed)


def test_starts_on_boot(installed: On, docker: Docker) -> None:
    docker("restart", "--time=10", MACHINE)
    wait_for(lambda: installed("sh", "-c", f"systemctl is-active {NAME} || true") == "active")
    assert decides(installed)


def test_stays_off_over_an_upgrade_when_masked(installed: On) -> None:
    installed("systemctl", "mask", "--now", NAME)
    installed("dpkg", "--install", f"{PACKED}.deb")
    assert show(installed, "ActiveState") == "inactive"
    installed("systemctl", "unmask", NAME)


def test_upgrade_keeps_settings_and_removal_keeps_the_state(installed: On) -> None:
    assert decides(installed)
    before, old = decisions(installed), wait_for_pid(installed)
    installed("sed", "-i", "s/^device:.*/device: bench-7/", f"{SETTINGS}/params.yaml")
    for command in ("--install", "--remove", "--install"):
        what = NAME if command == "--remove" else f"{PACKED}.deb"
        installed("dpkg", "--force-confold", command, what)
        if command == "--remove":
            assert not existing(installed, *PLACES) and show(installed, "LoadState") == "not-found"
            assert existing(installed, f"/proc/{old}") == []
        else:
            assert wait_for_pid(installed) != old and decisions(installed) == before
            assert "device: bench-7" in installed("cat", f"{HOME}/params.yaml")
        old = show(installed, "MainPID")
    installed("dpkg", "--purge", NAME)
    assert not existing(installed, *PLACES, STATE, SETTINGS, f"/proc/{old}")


def test_install_script_installs_upgrades_and_removes_without_dpkg(on: On) -> None:
    on("mv", "/usr/bin/dpkg", "/usr/bin/dpkg.away")
    install = ["sh", "/root/install.sh"]
    try:
        on(*install, f"{PACKED}.tar.gz")
        assert decides(on) and existing(on, *PLACES) == PLACES
        before, old = decisions(on), wait_for_pid(on)
        on("sed", "-i", "s/^device:.*/device: bench-7/", f"{SETTINGS}/params.yaml")
        on("touch", f"{HOME}/lib/of-an-older-version.py")
        on(*install, f"{PACKED}.tar.gz")
        assert wait_for_pid(on) != old and decisions(on) == before
        assert "device: bench-7" in on("cat", f"{HOME}/params.yaml")
        assert not existing(on, f"{HOME}/lib/of-an-older-version.py")
        on("sh", "-c", f"head -c 1000000 {PACKED}.tar.gz > /root/cut.tar.gz")
        with pytest.raises(AssertionError, match="unexpected end of file"):
            on(*install, "/root/cut.tar.gz")
        with pytest.raises(AssertionError, match="For devices without dpkg"):
            on(*install)
        assert decides(on)
        on(*install, "remove")
        assert not existing(on, *PLACES) and existing(on, STATE, SETTINGS) == [STATE, SETTINGS]
        on(*install, f"{PACKED}.tar.gz")
        assert len(decisions(on)) == len(before) + 1
        old = wait_for_pid(on)
        on(*install, "purge")
        assert not existing(on, *PLACES, STATE, SETTINGS, f"/proc/{old}")
    finally:
        on("mv", "/usr/bin/dpkg.away", "/usr/bin/dpkg")
