"""Labelled examples, their split, and the Parquet shards that store them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq

from .refusal import Refusal

EXAMPLES_PER_SHARD = 5000  # DVC slows down with many small files


class Example(NamedTuple):
    """One payload, exactly as `POST /predict` would receive it, and the right answer."""

    id: str
    payload: bytes
    label: str
    slice: str  # a group whose quality is judged on its own


def split_of(example_id: str) -> str:
    """Choose the split by a hash of the id, so that an example never changes sides."""
    bucket = crc32(example_id.encode()) % 10  # 20 % test, 10 % validation, 70 % training
    return "test" if bucket < 2 else "validation" if bucket == 2 else "train"


def labelled_files(source: Path, suffixes: set[str]) -> Iterator[Example]:
    """Yield `<label>/<file>` and `<label>/<slice>/<file>` below a folder.

    Raises:
        Refusal: the folder is not there, or a file in it has another suffix.
    """
    if not source.is_dir():
        rule = "an existing folder with one folder per label"
        raise Refusal("source", str(source), rule, "my-data/, with my-data/LABEL/...")
    for path in sorted(source.rglob("*")):
        label, *group = path.relative_to(source).parts[:-1] or ("",)
        if path.is_dir() or path.name.startswith("."):
            continue
        if not label or path.suffix.lower() not in suffixes:
            rule = f"every file is {' or '.join(sorted(suffixes))}, in the folder of its label"
            raise Refusal("file", str(path), rule, f"{source}/a-label/1{min(suffixes)}")
        id = path.relative_to(source).as_posix()
        yield Example(id, path.read_bytes(), label, "/".join(group) or "all")


def write_shards(examples: list[Example], folder: Path) -> None:
    """Write the examples into a few Parquet files; replace the folder only when all are there."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for start in range(0, len(examples), EXAMPLES_PER_SHARD):
        rows = [example._asdict() for example in examples[start : start + EXAMPLES_PER_SHARD]]
        pq.write_table(pa.Table.from_pylist(rows), draft / f"{start:09}.parquet")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def read_shards(folder: Path) -> Iterator[Example]:
    """Yield every example that `ingest` kept.

    Raises:
        SystemExit: there is no data, or a shard is damaged.
    """
    shards = sorted(folder.glob("*.parquet"))
    if not shards:
        raise SystemExit(f"No data in {folder}. Run `make model`, or `ingest` with your own data.")
    for shard in shards:
        try:
            rows = pq.read_table(shard).to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            found = str(error).splitlines()[0]
            raise SystemExit(f"{shard} is damaged ({found}). Run `dvc checkout`.") from None
        yield from (Example(**row) for row in rows)
