"""The device loop, its libraries and its model: a .deb, and the same files for `install.sh`.

Libraries are the wheels of `uv.lock` for the device's processor; what it never loads stays behind.
"""

import py_compile
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from ..artifacts import REFERENCE, SHIPPED, move_whole
from ..gates import refuse_broken, refuse_other_models, verdicts
from ..scope import PARAMS, SCOPE, load_scope
from ..settings import PACKAGE

SOURCE, DIST, KEYS = Path("deploy/device"), Path("dist"), Path("keys")
CONTENT = (SCOPE, Path("schema.yaml"), Path("docs/runbook.md"), SHIPPED, REFERENCE)
UNITS, START = "usr/lib/systemd/system", "multi-user.target.wants"
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
MAX_INSTALLED_MB, BLOCK_BYTES = 150, 4096
# For developers of a library, for programs in C, or for training.
UNUSED = ["bin", "**/tests", "**/test_data", "**/*.pyi", "numpy/f2py"]
UNUSED += [f"onnxruntime/{name}" for name in ("quantization", "tools", "transformers")]
UNUSED += ["onnxruntime/capi/libonnxruntime.so*"]
EXPORT = ["uv", "export", "--frozen", "--no-default-groups", "--no-emit-project", "--prune=rich"]
LOADED = "import {0}.cli, {0}.device.loop, {0}.device.model_update, sys; print(*sys.modules)"


def package(arch: str = "") -> None:
    """Write `dist/NAME_VERSION_ARCH.deb` and `.tar.gz`; ARCH is arm64, or amd64 if not said.

    Raises:
        SystemExit: a promise of the model is broken, a tool fails, or the package is unfit.
    """
    arch = arch or "amd64"
    if arch not in PLATFORMS:
        raise SystemExit(f"ARCH is {arch!r}, but has to be one of {', '.join(PLATFORMS)}.")
    refuse_other_models()
    refuse_broken(verdicts())
    DIST.mkdir(exist_ok=True)
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    made = DIST / f"{load_scope().project}_{version}_{arch}"
    with TemporaryDirectory(dir=DIST, prefix=".part-") as draft:
        tree, archive, deb = (Path(draft) / name for name in ("tree", "archive", "deb"))
        _fill(tree, load_scope().project, arch)
        installed_mb = fit_mb(tree)
        with tarfile.open(archive, "w:gz", compresslevel=6) as file:
            for path in _files(tree):  # no folders: those that a device has stay as they are
                file.add(path, path.relative_to(tree))
        control = shutil.copytree(SOURCE / "debian", tree / "DEBIAN") / "control"
        facts = f"Version: {version}\nArchitecture: {arch}\n"
        facts += f"Installed-Size: {installed_mb * 1e6 / 1024:.0f}\n"
        control.write_text(facts + control.read_text())
        _set_rights(tree)
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", str(tree), str(deb))
        move_whole(archive, made.with_name(f"{made.name}.tar.gz"))
        move_whole(deb, made.with_name(f"{made.name}.deb"))
    print(f"{made}.deb and .tar.gz: {installed_mb:.0f} MB installed.")


def fit_mb(tree: Path) -> float:
    """Return how many MB of a disk it takes, in whole blocks.

    Raises:
        SystemExit: PyTorch is in it, or it is too large; the rule is named.
    """
    if found := sorted(tree.glob("opt/*/lib/torch*")):
        raise SystemExit(f"no_torch: {found[0].name} is in the package, and only trains.")
    blocks = sum(-(-path.lstat().st_size // BLOCK_BYTES) or 1 for path in tree.rglob("*"))
    if (found_mb := blocks * BLOCK_BYTES / 1e6) > MAX_INSTALLED_MB:
        parts = [(sum(p.stat().st_size for p in _files(f)), f) for f in tree.glob("opt/*/lib/*")]
        large = ", ".join(f"{f.name} {size / 1e6:.0f} MB" for size, f in sorted(parts)[:-4:-1])
        raise SystemExit(f"installed_mb: {found_mb:.0f}, not <= {MAX_INSTALLED_MB} ({large}).")
    return found_mb


def _files(folder: Path) -> list[Path]:
    paths = [folder, *folder.rglob("*")]
    return sorted(path for path in paths if path.is_symlink() or path.is_file())


def _fill(tree: Path, name: str, arch: str) -> None:
    """Put everything where a device has it."""
    home, unit = tree / "opt" / name, f"{name}.service"
    shutil.copytree(SOURCE / "root", tree)
    for path in list(tree.rglob("device*")):  # here no path has a name that may change
        path.rename(path.with_name(path.name.replace("device", name)))
    (python,) = re.findall(r"=/usr/bin/python([\d.]+)", (tree / UNITS / unit).read_text())
    _install(home / "lib", python, arch)
    places = {path: home / path for path in CONTENT}
    places |= {path: home / path for end in ("*.pub", "*.root.json") for path in KEYS.glob(end)}
    for path, place in (places | {PARAMS: tree / "etc" / name / PARAMS}).items():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (home / PARAMS).symlink_to(f"/etc/{name}/{PARAMS}")
    (home / "data").symlink_to(f"/var/lib/{name}")
    (tree / UNITS / START).mkdir()
    (tree / UNITS / START / unit).symlink_to(f"../{unit}")
    shutil.copytree(SOURCE / "debian", home / "debian")  # for install.sh
    _set_rights(tree)


def _install(lib: Path, python: str, arch: str) -> None:
    """Install for a device's Python, without `rich` and what only that needs: typer can do so."""
    if python != (here := f"{sys.version_info.major}.{sys.version_info.minor}"):
        raise SystemExit(f"Devices have Python {python}, here is {here}: `uv python pin {python}`.")
    locked = _run(*EXPORT)
    install = f"uv pip install --quiet --no-deps --link-mode=copy --target {lib}".split()
    install += ["--python-version", python, "--python-platform", PLATFORMS[arch]]
    _run(*install, "--only-binary", ":all:", "--requirements", "-", given=locked)
    _run(*install, ".")
    for pattern in UNUSED:
        for path in list(lib.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # The service can write no bytecode, so that it cannot change what runs: it is made here.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for name in _run(sys.executable, "-c", LOADED.format(PACKAGE)).split():
        for file in (f"{name.replace('.', '/')}{end}.py" for end in ("", "/__init__")):
            if (lib / file).exists():
                py_compile.compile(str(lib / file), None, file, True, invalidation_mode=unchecked)


def _set_rights(tree: Path) -> None:
    """Let everybody read, whatever the umask was, and only root, to whom all belongs, write."""
    for path in tree.rglob("*"):
        if not path.is_symlink():
            runs = path.is_dir() or path.parent.name in ("bin", "debian", "DEBIAN")
            path.chmod(0o755 if runs else 0o644)


def _run(*command: str, given: str = "") -> str:
    try:
        done = subprocess.run(command, check=True, input=given, stdout=subprocess.PIPE, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        wanted = "It takes uv, uv.lock (`make setup` writes it) and dpkg-deb"
        raise SystemExit(f"{str(error).rstrip('.')}. {wanted}.") from None
    return done.stdout
