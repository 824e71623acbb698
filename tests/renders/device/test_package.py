"""The package from `make deb`: its unit, its scripts and its content."""

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
from repository import done, run_in, write_files
from test_render import run

NAME = "scratch-detector"
UNIT = "usr/lib/systemd/system/device.service"
INSTALLED = UNIT.replace("device", NAME)
MAX_EXPOSURE = 20  # of 100; systemd-analyze shows it as 2.0
LOOSER = ["SystemCall.*", "Protect.*", "(User|CapabilityBoundingSet)=.*"]


@pytest.fixture(scope="module", params=["edge", "hybrid"])
def folder(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(modality="tabular", target=request.param)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze") or pytest.skip("no systemd-analyze (Debian: systemd)")
    return subprocess.run([tool, *words], capture_output=True, text=True)


@pytest.fixture
def verify_unit(folder: Path, tmp_path: Path) -> Callable[[str, str], str]:
    """Return a function that replaces a part of the unit and returns the errors of systemd."""
    text = (folder / "deploy/device/root" / UNIT).read_text()
    text = text.replace("/usr/bin/python3.11", sys.executable)

    def verify(old: str, new: str) -> str:
        assert old in text
        write_files(tmp_path, {UNIT: text.replace(old, new)})
        return analyze("verify", "--man=no", str(tmp_path / UNIT)).stderr

    return verify


def test_unit_has_no_unknown_options(verify_unit: Callable[[str, str], str]) -> None:
    assert verify_unit("", "") == ""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("ProtectSystem=strict", "ProtectSystem=yess", "Failed to parse protect system value"),
        ("MemoryMax=256M", "MaxMemory=256M", "MaxMemory"),
        ("~@privileged", "~@privilege", "Unknown system call group"),
    ],
)
def test_detects_options_that_systemd_would_ignore(
    verify_unit: Callable[[str, str], str], old: str, new: str, named: str
) -> None:
    assert named in verify_unit(old, new)


def test_unit_is_hardened_and_a_looser_unit_fails(folder: Path, tmp_path: Path) -> None:
    unit = folder / "deploy/device/root" / UNIT
    ask = ["security", "--offline=true", f"--threshold={MAX_EXPOSURE}"]
    done(analyze(*ask, str(unit)))
    for loosened in LOOSER:
        text = re.sub(f"(?m)^{loosened}", "", unit.read_text())
        found = analyze(*ask, str(write_files(tmp_path, {UNIT: text}) / UNIT))
        assert found.returncode == 1 and "Overall exposure level" in found.stdout, loosened


def test_scripts_pass_shellcheck(folder: Path) -> None:
    device = folder / "deploy/device"
    scripts = [path for path in device.rglob("*") if path.is_file() and is_script(path)]
    names = {"install.sh", "device", "postinst", "prerm", "postrm"}
    assert {path.name for path in scripts} == names
    run(["shellcheck", *map(str, scripts)], folder)


def is_script(path: Path) -> bool:
    return path.read_text().startswith("#!/bin/sh\n")


def test_unit_and_dependencies_name_the_same_python(folder: Path) -> None:
    device = folder / "deploy/device"
    (control,) = re.findall(
        r"^Depends: .*(python[\d.]+)", (device / "debian/control").read_text(), re.M
    )
    assert f"ExecStart=/usr/bin/{control} -m" in (device / "root" / UNIT).read_text()


def test_cloud_project_has_no_device_files(render: Render) -> None:
    cloud = render(modality="image", target="cloud")
    assert (cloud / "deploy/Dockerfile").exists() and not (cloud / "deploy/device").exists()
    edge = render(modality="image", target="edge")
    assert (edge / "deploy/device/install.sh").exists()
    assert not (edge / "deploy/Dockerfile").exists()


@pytest.fixture(scope="module")
def ready(modelled: Path, render: Render, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project for devices with a model that meets all limits, and keys for updates."""
    folder = tmp_path_factory.mktemp("device") / "repo"
    shutil.copytree(modelled, folder, symlinks=True)
    shutil.copytree(render(modality="tabular", target="hybrid"), folder, dirs_exist_ok=True)
    shutil.copy(modelled / "schema.yaml", folder)
    done(run_in(folder, "uv", "lock", "--quiet"))
    return write_files(folder, {"keys/1.root.json": "{}", "keys/root-1.pem": "secret"})


@pytest.fixture(scope="module")
def packed(ready: Path) -> Path:
    """Run `make deb`; return the folder with the .deb and the archive."""
    done(run_in(ready, "make", "deb"))
    return ready / "dist"


def test_packages_contain_loop_model_and_public_keys(ready: Path, packed: Path) -> None:
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
    wanted += [
        "keys/1.root.json",
        "docs/runbook/devices.md",
        "docs/devices.md",
        "lib/scratch_detector/device/loop.py",
    ]
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


def test_only_imported_modules_are_compiled(packed: Path) -> None:
    with tarfile.open(packed / f"{NAME}_0.1.0_amd64.tar.gz") as file:
        names = set(file.getnames())
    lib = f"opt/{NAME}/lib"
    assert f"{lib}/scratch_detector/device/__pycache__/loop.cpython-311.pyc" in names
    assert f"{lib}/numpy/__pycache__/__init__.cpython-311.pyc" in names
    assert f"{lib}/numpy/distutils/__pycache__/__init__.cpython-311.pyc" not in names


def package_with_uv(folder: Path, ready: Path, plant: str) -> subprocess.CompletedProcess[str]:
    """Run `package` with a fake uv that only runs `plant`; $lib is the `--target` folder."""
    env = variables(ready, environment(requirements(ready, "serve", "train", "dev")))
    shim = folder / "bin/uv"
    find = 'for word; do [ "$last" = --target ] && lib=$word; last=$word; done'
    real = shutil.which("uv", path=search_path())
    lines = [
        "#!/bin/sh",
        f'[ "$1 $2" = "pip install" ] || exec {real} "$@"',
        find,
        "cat >/dev/null",
    ]
    write_files(folder, {"bin/uv": "\n".join([*lines, 'mkdir -p "$lib/numpy"', plant, ""])})
    shim.chmod(0o755)
    command = ["python", "-m", "scratch_detector", "package"]
    env["PATH"] = f"{shim.parent}{os.pathsep}{env['PATH']}"
    (ready / "dist").mkdir(exist_ok=True)
    before = sorted((ready / "dist").iterdir())
    result = subprocess.run(command, cwd=ready, env=env, capture_output=True, text=True)
    if result.returncode:
        assert sorted((ready / "dist").iterdir()) == before, "an incomplete file is left"
    return result


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        ('mkdir -p "$lib/torch"', "no_torch: the package contains torch"),
        (
            'truncate -s 151M "$lib/numpy/large"',
            r"installed_mb: 15\d MB, limit 150 MB \(largest: numpy 158 MB\)",
        ),
        ("exit 2", "returned non-zero exit status 2. `make deb` needs uv"),
    ],
)
def test_does_not_write_an_invalid_package(
    ready: Path, tmp_path: Path, plant: str, message: str
) -> None:
    result = package_with_uv(tmp_path, ready, plant)
    assert result.returncode == 1 and re.search(message, result.stderr), result.stderr


def test_writes_a_valid_package_with_the_fake_uv(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(ready, folder, ignore=shutil.ignore_patterns("dist"))
    assert "0 MB installed" in done(package_with_uv(tmp_path, folder, "true"))


def test_rejects_a_python_other_than_that_of_the_unit(ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(ready, folder)
    unit = folder / "deploy/device/root" / UNIT
    unit.write_text(unit.read_text().replace("python3.11", "python3.10"))
    result = run_in(folder, "python", "-m", "scratch_detector", "package")
    assert result.returncode == 1 and "Devices run Python 3.10, but this is 3.11" in result.stderr
