"""A source distribution of a project holds its code, and neither data nor models nor keys."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from repository import done, run_in, write_files

ALWAYS = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}  # added by hatchling


def test_a_source_distribution_holds_only_code(released: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(released, tmp_path / "repo", symlinks=True)
    private = ["deploy/secrets/server/api_keys", "data/inbox/one.json", "notes/customers.csv"]
    write_files(folder, dict.fromkeys(private, "private"))
    assert (folder / "keys/release.pem").exists() and list((folder / "data").rglob("*.parquet"))
    done(run_in(folder, "uv", "build", "--quiet"))
    (source,) = (folder / "dist").glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    code = {name for name in names if name.startswith("src/scratch_detector/")}
    assert names - code == ALWAYS
    assert {Path(name).suffix for name in code} <= {".py", ".html", ".md"}
    (wheel,) = (folder / "dist").glob("*.whl")  # uv builds it from the source distribution
    with zipfile.ZipFile(wheel) as archive:
        assert {f"src/{name}" for name in archive.namelist() if "dist-info" not in name} == code
