"""The command `package`: build a .deb and a .tar.gz of the device loop, its libraries and model.

The libraries are the wheels in `uv.lock` for the processor of the device, without the parts that a
device never loads. `deploy/device/install.sh` installs the .tar.gz on systems without dpkg.
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

from ..artifacts import REFERENCE, SHIPPED, refuse_other_models
from ..atomic import replace_durably
from ..gates import refuse_broken, verdicts
from ..scope import PARAMS, SCOPE, load_scope
from ..settings import PACKAGE

SOURCE = Path("deploy/device")
DIST = Path("dist")
KEYS = Path("keys")
DOCS = ("docs/devices.md", "docs/runbook.md", "docs/runbook/devices.md")
CONTENT = (SCOPE, Path("schema.yaml"), *map(Path, DOCS), SHIPPED, REFERENCE)
UNITS = Path("usr/lib/systemd/system")
# The wheels of onnxruntime need glibc 2.28, the version of Debian 10.
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
# Measured for images: 143 MB on amd64, 137 MB on arm64 (NumPy, onnxruntime, Pillow, bytecode). The
# limit is tight: another large library should not go unnoticed.
MAX_INSTALLED_MB = 150
BLOCK_BYTES = 4096  # of ext4: rounding up to whole blocks matters with thousands of small files
# Parts of libraries for their developers, for C programs, or for training.
UNUSED = [
    "bin",
    "**/tests",
    "**/test_data",
    "**/*.pyi",
    "numpy/f2py",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "onnxruntime/capi/libonnxruntime.so*",
]
# Compared with these levels, on NumPy and onnxruntime (125 MB), gzip -9 saves 1 % and takes 2.5
# times as long; xz -6 saves 10 % and takes 3 times as long.
GZIP_LEVEL = 6
XZ_LEVEL = 2
# typer works without `rich`, which would bring 12 MB of libraries for colours.
EXPORT = ["uv", "export", "--frozen", "--no-default-groups", "--no-emit-project", "--prune=rich"]
PRINT_MODULES = """import {0}.cli, {0}.device.loop, {0}.device.model_update, sys
{0}.cli.all_commands()
print(*sys.modules)"""


def package(arch: str = "") -> None:
    """Write `dist/NAME_VERSION_ARCH.deb` and `.tar.gz`; `arch` is amd64 (the default) or arm64.

    Raises:
        SystemExit: the model misses a limit, a tool fails, or the package is too large.
    """
    arch = arch or "amd64"
    if arch not in PLATFORMS:
        raise SystemExit(f"ARCH is {arch!r}; choose one of {', '.join(PLATFORMS)}.")
    refuse_other_models()
    refuse_broken(verdicts())
    DIST.mkdir(exist_ok=True)
    project = load_scope().project
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    stem = f"{project}_{version}_{arch}"
    with TemporaryDirectory(dir=DIST, prefix=".part-") as draft:
        tree = Path(draft) / "tree"
        archive = Path(draft) / "archive"
        deb = Path(draft) / "deb"
        _build_tree(tree, project, arch)
        installed_mb = check_installed_mb(tree)
        with tarfile.open(archive, "w:gz", compresslevel=GZIP_LEVEL) as file:
            for path in _list_files(tree):  # no folders: existing ones keep their permissions
                file.add(path, path.relative_to(tree))
        control = shutil.copytree(SOURCE / "debian", tree / "DEBIAN") / "control"
        fields = f"Version: {version}\nArchitecture: {arch}\n"
        fields += f"Installed-Size: {installed_mb * 1e6 / 1024:.0f}\n"
        control.write_text(fields + control.read_text())
        _set_permissions(tree)
        build = ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{XZ_LEVEL}", "--build"]
        _run(*build, str(tree), str(deb))
        replace_durably(archive, DIST / f"{stem}.tar.gz")
        replace_durably(deb, DIST / f"{stem}.deb")
    print(f"{DIST / stem}.deb and .tar.gz: {installed_mb:.0f} MB installed.")


def check_installed_mb(tree: Path) -> float:
    """Return the disk space of the tree in MB, in whole blocks.

    Raises:
        SystemExit: it contains PyTorch, or is too large; the message names the largest parts.
    """
    if torch := sorted(tree.glob("opt/*/lib/torch*")):
        remedy = "Move its dependency to the group `train` in pyproject.toml"
        raise SystemExit(f"no_torch: the package contains {torch[0].name}. {remedy}.")
    blocks = sum(-(-path.lstat().st_size // BLOCK_BYTES) or 1 for path in tree.rglob("*"))
    installed_mb = blocks * BLOCK_BYTES / 1e6
    if installed_mb > MAX_INSTALLED_MB:
        folders = tree.glob("opt/*/lib/*")
        sizes = [(sum(p.stat().st_size for p in _list_files(f)), f.name) for f in folders]
        largest = sorted(sizes, reverse=True)[:3]
        named = ", ".join(f"{name} {size / 1e6:.0f} MB" for size, name in largest)
        over = f"{installed_mb:.0f} MB, limit {MAX_INSTALLED_MB} MB"
        remedy = "Exclude parts that the device never loads: UNUSED in fleet/debian.py"
        raise SystemExit(f"installed_mb: {over} (largest: {named}). {remedy}.")
    return installed_mb


def _list_files(folder: Path) -> list[Path]:
    paths = [folder, *folder.rglob("*")]
    return sorted(path for path in paths if path.is_symlink() or path.is_file())


def _build_tree(tree: Path, name: str, arch: str) -> None:
    """Arrange all files as on a device."""
    home = tree / "opt" / name
    unit = f"{name}.service"
    shutil.copytree(SOURCE / "root", tree)
    # In `deploy/` the files are named device.*: paths there do not depend on the project name.
    for path in list(tree.rglob("device*")):
        path.rename(path.with_name(path.name.replace("device", name)))
    (python,) = re.findall(r"=/usr/bin/python([\d.]+)", (tree / UNITS / unit).read_text())
    _install_libraries(home / "lib", python, arch)
    places = {path: home / path for path in CONTENT}
    for pattern in ("*.pub", "*.root.json"):  # public keys; private keys end in .pem
        places |= {path: home / path for path in KEYS.glob(pattern)}
    places[PARAMS] = tree / "etc" / name / PARAMS
    for path, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (home / PARAMS).symlink_to(f"/etc/{name}/{PARAMS}")
    (home / "data").symlink_to(f"/var/lib/{name}")
    # The link that `systemctl enable` would create; install.sh needs no running systemd for it.
    wants = tree / UNITS / "multi-user.target.wants"
    wants.mkdir()
    (wants / unit).symlink_to(f"../{unit}")
    shutil.copytree(SOURCE / "debian", home / "debian")  # install.sh runs these scripts
    _set_permissions(tree)


def _install_libraries(lib: Path, python: str, arch: str) -> None:
    """Install the locked wheels and this package, delete unused parts, and compile the rest."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python != here:  # the Python that runs here compiles the bytecode
        remedy = f"Run `uv python pin {python}`"
        raise SystemExit(f"Devices run Python {python}, but this is {here}. {remedy}.")
    locked = _run(*EXPORT)
    install = f"uv pip install --quiet --no-deps --link-mode=copy --target {lib}".split()
    install += ["--python-version", python, "--python-platform", PLATFORMS[arch]]
    _run(*install, "--only-binary", ":all:", "--requirements", "-", stdin=locked)
    _run(*install, ".")
    for pattern in UNUSED:
        for path in list(lib.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    _compile(lib)


def _compile(lib: Path) -> None:
    """Compile the modules that the loop imports, because the service may not write bytecode.

    A service that could write bytecode could change its own code. Compiling every module would add
    10 MB for NumPy alone. The source never changes on a device, so its hash is not checked.
    """
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for name in _run(sys.executable, "-c", PRINT_MODULES.format(PACKAGE)).split():
        module = name.replace(".", "/")
        for file in (f"{module}.py", f"{module}/__init__.py"):
            if (lib / file).exists():
                py_compile.compile(str(lib / file), None, file, True, invalidation_mode=unchecked)


def _set_permissions(tree: Path) -> None:
    """Allow all users to read and only root to write, independent of the umask."""
    for path in tree.rglob("*"):
        if not path.is_symlink():
            is_executable = path.is_dir() or path.parent.name in ("bin", "debian", "DEBIAN")
            path.chmod(0o755 if is_executable else 0o644)


def _run(*command: str, stdin: str = "") -> str:
    try:
        done = subprocess.run(command, check=True, input=stdin, stdout=subprocess.PIPE, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        needs = "`make deb` needs uv, uv.lock (from `make setup`) and dpkg-deb"
        raise SystemExit(f"{str(error).rstrip('.')}. {needs}.") from None
    return done.stdout
