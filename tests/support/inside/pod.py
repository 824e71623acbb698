"""Start a command as a pod would, without a container engine: `unshare -mn python pod.py SPEC`.

Root file system read-only, own /tmp, /run and volumes, own network, another user, no capabilities,
and a memory limit. SPEC is a JSON file: see `test_pod.py`.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def make_reachable(root: Path, path: Path) -> None:
    """Show a folder below others that only root may enter."""
    for parent in [*reversed(path.parents), path]:
        inside = root / parent.relative_to("/")
        if not inside.stat().st_mode & 0o001:
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", inside)
            at = root / path.relative_to("/")
            at.mkdir(parents=True)
            mount("--bind", path, at)
            return


def make_read_only(root: Path) -> None:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    places = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    for place in places:
        kept = ("/proc", "/sys", "/dev")
        inside = place.removeprefix(str(root)) or "/"
        if place.startswith(str(root)) and not inside.startswith(kept):
            subprocess.run(["mount", "-o", "remount,bind,ro", place], capture_output=True)


def limit_memory(name: str, limit_bytes: int) -> None:
    """Use a control group, version 1 or 2, or else the limit of the process."""
    for top, file in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", top, name)
        try:
            group.mkdir()
            (group / file).write_text(str(limit_bytes))
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            continue
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    root, user = Path(spec["root"]), spec["user"]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mount("--make-rprivate", "/")
    mount("--rbind", "/", root)
    for path in spec["reachable"]:
        make_reachable(root, Path(path))
    mount("--bind", spec["app"], root / "srv")
    make_read_only(root)
    for place, size in spec["volumes"].items():
        mount("-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", root / place.lstrip("/"))
    for path in map(Path, spec["reachable"]):
        if not (at := root / path.relative_to("/")).exists():  # a volume, such as /tmp, hides it
            at.mkdir(parents=True)
            mount("--bind", "-o", "ro", path, at)
    for place, text in spec["secrets"].items():
        (root / place.lstrip("/")).parent.mkdir(parents=True)
        (root / place.lstrip("/")).write_text(text)
    limit_memory(spec["name"], spec["memory_bytes"])
    os.chroot(root)
    os.chdir("/srv")
    drop = f"--reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all"
    command = ["setpriv", *drop.split(), "--inh-caps=-all", *spec["command"]]
    os.execvpe("setpriv", command, spec["env"])


main()
