"""What `make deb` puts together for a device: its unit, its scripts, and what is in it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Render
from environment import environment, requirements, search_path, variables
from repository import done, run_in, written
from test_render import run

NAME = "scratch-detector"
UNIT = "usr/lib/systemd/system/device.service"
INSTALLED = UNIT.replace("device", NAME)
MOST_EXPOSED = 20  # of 100, which systemd-analyze shows as 2.0
LOOSER = ["SystemCall.*", "Protect.*", "(User|CapabilityBoundingSet)=.*"]


@pytest.fixture(scope="module", params=["edge", "hybrid"])
def folder(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(modality="tabular", target=request.param)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze") or pytest.skip("no systemd-analyze (Debian: systemd)")
    return subprocess.run([tool, *words], capture_output=True, text=True)


@pytest.fixture
def verified(folder: Path, tmp_path: Path) -> Callable[[str, str], str]:
    """What systemd says of the unit, with something in it replaced; it ends with 0 in any case."""
    text = (folder / "deploy/device/root" / UNIT).read_text()
    text = text.replace("/usr/bin/python3.11", sys.executable)

    def said(old: str, new: str) -> str:
        assert old in text
        written(tmp_path, {UNIT: text.replace(old, new)})
        return analyze("verify", "--man=no", str(tmp_path / UNIT)).stderr

    return said


def test_systemd_knows_every_word_of_the_unit(verified: Callable[[str, str], str]) -> None:
    assert verified("", "") == ""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("ProtectSystem=strict", "ProtectSystem=yess", "Failed to parse protect system value"),
        ("MemoryMax=256M", "MaxMemory=256M", "MaxMemory"),
        ("~@privileged", "~@privilege", "Unknown system call group"),
    ],
)
def test_a_word_that_systemd_would_pass_over_is_seen(
    verified: Callable[[str, str], str], old: str, new: str, named: str
) -> None:
    assert named in verified(old, new)


def test_the_unit_is_hardened_and_a_looser_one_is_seen(folder: Path, tmp_path: Path) -> None:
    unit = folder / "deploy/device/root" / UNIT
    ask = ["security", "--offline=true", f"--threshold={MOST_EXPOSED}"]
    done(analyze(*ask, str(unit)))
    for loosened in LOOSER:
        text = re.sub(f"(?m)^{loosened}", "", unit.read_text())
        found = analyze(*ask, str(written(tmp_path, {UNIT: text}) / UNIT))
        assert found.returncode == 1 and "Overall exposure level" in found.stdout, loosened


def test_the_scripts_are_plain_shell(folder: Path) -> None:
    device = folder / "deploy/device"
    scripts = [path for path in device.rglob("*") if path.is_file() and is_script(path)]
    names = {"install.sh", "device", "postinst", "prerm", "postrm"}
    assert {path.name for path in scripts} == names
    run(["shellcheck", *map(str, scripts)], folder)


def is_script(path: Path) -> bool:
    return path.read_text().startswith("#!/bin/sh\n")


def test_all_of_it_is_about_one_python(folder: Path) -> None:
    device = folder / "deploy/device"
    (control,) = re.findall(
        r"^Depends: .*(python[\d.]+)", (device / "debian/control").read_text(), re.M
    )
    assert f"ExecStart=/usr/bin/{control} -m" in (device / "root" / UNIT).read_text()


def test_a_server_gets_none_of_it(render: Render) -> None:
    cloud = render(modality="image", target="cloud")
    assert (cloud / "deploy/Dockerfile").exists() and not (cloud / "deploy/device").exists()
    edge = render(modality="image", target="edge")
    assert (edge / "deploy/device/install.sh").exists()
    assert not (edge / "deploy/Dockerfile").exists()


@pytest.fixture(scope="module")
def judged(modelled: Path, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A render for devices with a model that keeps its promises, and keys of the updates."""
    folder = tmp_path_factory.mktemp("device") / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    shutil.copytree(render(modality="tabular", target="hybrid"), folder, dirs_exist_ok=True)
    shutil.copy(modelled / "schema.yaml", folder)
    done(run_in(folder, "uv", "lock", "--quiet"))
    return written(folder, {"keys/1.root.json": "{}", "keys/root-1.pem": "secret"})


@pytest.fixture(scope="module")
def packed(judged: Path) -> Path:
    """The folder in which its .deb and its archive are."""
    done(run_in(judged, "make", "deb"))
    return judged / "dist"


def test_both_hold_the_loop_the_model_and_what_is_public(judged: Path, packed: Path) -> None:
    if not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg-deb")
    deb, archive = (packed / f"{NAME}_0.1.0_amd64.{end}" for end in ("deb", "tar.gz"))
    assert {path.name for path in packed.iterdir()} == {deb.name, archive.name}
    fields = run(["dpkg-deb", "--field", str(deb)], packed)
    assert f"Package: {NAME}\n" in fields and "Architecture: amd64\n" in fields
    assert 60_000 < int(re.findall(r"Installed-Size: (\d+)", fields)[0]) < 150e6 / 1024
    listed = run(["dpkg-deb", "--contents", str(deb)], packed).splitlines()
    rows = [re.split(r" +", line, maxsplit=5) for line in listed]
    assert {row[1] for row in rows} == {"root/root"}
    names = {row[5].removeprefix("./"): row[0] for row in rows if not row[5].endswith("/")}
    home = f"opt/{NAME}"
    wanted = ["scope.yaml", "schema.yaml", "models/shipped.onnx", "models/reference.json"]
    wanted += ["keys/1.root.json", "docs/runbook/devices.md", "lib/scratch_detector/device/loop.py"]
    assert {f"{home}/{name}" for name in wanted} <= names.keys() and INSTALLED in names
    assert f"{home}/data -> /var/lib/{NAME}" in names
    assert f"{home}/params.yaml -> /etc/{NAME}/params.yaml" in names
    assert {rights for name, rights in names.items() if "->" not in name} <= {
        "-rw-r--r--",
        "-rwxr-xr-x",
    }
    libraries = {re.split(r"[/.-]", name.removeprefix(f"{home}/lib/"))[0] for name in names}
    assert not libraries & {"torch", "onnx", "rich", "pygments"} and "onnxruntime" in libraries
    assert not [name for name in names if name.endswith((".pem", ".pyi")) or "/tests/" in name]
    with tarfile.open(archive) as file:
        members = file.getmembers()
    same = {name.partition(" -> ")[0] for name in names}
    assert {member.name for member in members} == same


def test_its_bytecode_is_for_what_the_loop_loads(packed: Path) -> None:
    with tarfile.open(packed / f"{NAME}_0.1.0_amd64.tar.gz") as file:
        names = set(file.getnames())
    lib = f"opt/{NAME}/lib"
    assert f"{lib}/scratch_detector/device/__pycache__/loop.cpython-311.pyc" in names
    assert f"{lib}/numpy/__pycache__/__init__.cpython-311.pyc" in names
    assert f"{lib}/numpy/distutils/__pycache__/__init__.cpython-311.pyc" not in names


def with_uv(folder: Path, judged: Path, plant: str) -> subprocess.CompletedProcess[str]:
    """Pack with a uv that installs nothing but what is planted in its `--target`, $lib."""
    env = variables(judged, environment(requirements(judged, "serve", "train", "dev")))
    shim = folder / "bin/uv"
    find = 'for word; do [ "$last" = --target ] && lib=$word; last=$word; done'
    real = shutil.which("uv", path=search_path())
    lines = [
        "#!/bin/sh",
        f'[ "$1 $2" = "pip install" ] || exec {real} "$@"',
        find,
        "cat >/dev/null",
    ]
    written(folder, {"bin/uv": "\n".join([*lines, 'mkdir -p "$lib/numpy"', plant, ""])})
    shim.chmod(0o755)
    command = ["python", "-m", "scratch_detector", "package"]
    env["PATH"] = f"{shim.parent}{os.pathsep}{env['PATH']}"
    (judged / "dist").mkdir(exist_ok=True)
    before = sorted((judged / "dist").iterdir())
    result = subprocess.run(command, cwd=judged, env=env, capture_output=True, text=True)
    if result.returncode:
        assert sorted((judged / "dist").iterdir()) == before, "something half-written is left"
    return result


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ('mkdir -p "$lib/torch"', "no_torch: torch is in the package, and only trains"),
        ('truncate -s 151M "$lib/numpy/large"', r"installed_mb: 15\d, not <= 150 \(numpy 158 MB\)"),
        ("exit 2", "returned non-zero exit status 2. It takes uv"),
    ],
)
def test_an_unfit_package_is_not_written(
    judged: Path, tmp_path: Path, plant: str, said: str
) -> None:
    result = with_uv(tmp_path, judged, plant)
    assert result.returncode == 1 and re.search(said, result.stderr), result.stderr


def test_the_same_way_packs_what_is_fit(judged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(judged, folder, ignore=shutil.ignore_patterns("dist"))
    assert "0 MB installed" in done(with_uv(tmp_path, folder, "true"))


def test_another_python_than_that_of_the_device_is_named(judged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(judged, folder)
    unit = folder / "deploy/device/root" / UNIT
    unit.write_text(unit.read_text().replace("python3.11", "python3.10"))
    result = run_in(folder, "python", "-m", "scratch_detector", "package")
    assert result.returncode == 1 and "Devices have Python 3.10, here is 3.11" in result.stderr
