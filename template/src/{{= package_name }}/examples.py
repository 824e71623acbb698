"""Labelled examples: their split, and the Parquet shards that store them."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq

from .refusal import Refusal

FILES_SHOWN = 100
EXAMPLES_PER_SHARD = 5000  # DVC is slow with many small files


class Example(NamedTuple):
    """One payload, byte for byte as in production, and its label."""

    id: str
    payload: bytes
    label: str
    slice: str  # a group with its own quality gate


class UnusableFiles(Refusal):
    """Files in a source folder that are not examples; `usable` yields the examples."""

    def __init__(self, files: list[Path], rule: str, example: str, usable: Iterator[Example]):
        super().__init__("file", str(files[0]), rule, example)
        self.usable = usable
        shown = "".join(f"\n  {path}" for path in files[:FILES_SHOWN])
        more = len(files) - FILES_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        count = "1 file is" if len(files) == 1 else f"{len(files)} files are"
        words = f"{count} not usable ({rule}, for example {example!r})"
        self.args = (f"{words}:{shown}{rest}",)


def split_of(example_id: str) -> str:
    """Return the split, by a hash of the id: an example always stays in the same split."""
    bucket = crc32(example_id.encode()) % 10  # 20 % test, 10 % validation, 70 % training
    return "test" if bucket < 2 else "validation" if bucket == 2 else "train"


def digest(examples: list[Example]) -> str:
    """Return the hash that identifies these examples in `schema.yaml` and in reports."""
    return hashlib.sha256(repr(examples).encode()).hexdigest()


def labelled_files(source: Path, suffixes: set[str]) -> Iterator[Example]:
    """Yield `<label>/<file>` and `<label>/<slice>/<file>` below a folder.

    Raises:
        Refusal: the folder does not exist.
        UnusableFiles: files have another suffix, or are not in the folder of a label.
    """
    if not source.is_dir():
        rule = "an existing folder with one folder per label"
        raise Refusal("source", str(source), rule, "my-data/, with my-data/LABEL/...")
    paths, unusable = list[Path](), list[Path]()
    for path in sorted(source.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        is_example = path.parent != source and path.suffix.lower() in suffixes
        (paths if is_example else unusable).append(path)
    examples = (_read_file(path, source) for path in paths)
    if unusable:
        rule = f"every file must be {' or '.join(sorted(suffixes))}, in the folder of its label"
        raise UnusableFiles(unusable, rule, f"{source}/a-label/1{min(suffixes)}", examples)
    yield from examples


def _read_file(path: Path, source: Path) -> Example:
    label, *group = path.relative_to(source).parts[:-1]
    id = path.relative_to(source).as_posix()
    return Example(id, path.read_bytes(), label, "/".join(group) or "all")


def write_shards(examples: list[Example], folder: Path) -> None:
    """Write the examples to a few Parquet files; replace the folder when all are written."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for start in range(0, len(examples), EXAMPLES_PER_SHARD):
        rows = [example._asdict() for example in examples[start : start + EXAMPLES_PER_SHARD]]
        pq.write_table(pa.Table.from_pylist(rows), draft / f"{start:09}.parquet")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def read_shards(folder: Path) -> Iterator[Example]:
    """Yield all examples in a folder.

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
            reason = str(error).splitlines()[0]
            raise SystemExit(f"{shard} is damaged ({reason}). Run `dvc checkout`.") from None
        yield from (Example(**row) for row in rows)
