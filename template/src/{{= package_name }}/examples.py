"""Labelled examples: their split, and the Parquet shards that store them."""

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from .problem.answer import COLUMN, EXAMPLE, Answer, write
from .refusal import Refusal
from .schema import load_schema
from .splitting.divide import hash_split

FILES_SHOWN = 100
SYSTEM_FOLDERS = {  # of NAS, macOS, Windows and Linux, in lower case
    *("@eadir", "#recycle", "@recycle", "__macosx", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
ANSWERS = "answers.csv"  # in a source folder: the answer of each file, unless folders are labels
EXAMPLES_PER_SHARD = 5000  # DVC is slow with many small files
BYTES_PER_SHARD = 64_000_000  # a shard is in memory as a whole
_EXAMPLE_ROW = f"1.png,{write(Answer.model_validate(EXAMPLE))}"  # of `answers.csv`
Normalize = Callable[[str, Sequence[str]], list[str]]  # see `problem.data`


class Example(NamedTuple):
    """One payload, byte for byte as in production, and its correct answer."""

    id: str
    payload: bytes
    label: str  # the answer as text: see `problem.answer.read`
    slice: str  # a part of the data with its own quality gate
    group: str = ""  # a person, part or day, where `split` in schema.yaml says
    split: str = ""  # train, validation or test: `ingest` fills it in


SHARD = pa.schema(
    [(name, pa.binary() if name == "payload" else pa.string()) for name in Example._fields]
)


class UnusableFiles(Refusal):
    """Files in a source folder that are not examples; `usable` yields the examples."""

    def __init__(
        self,
        files: list[Path],
        rule: str,
        example: str,
        usable: Iterator[Example],
        reasons: Mapping[Path, str] | None = None,
    ) -> None:
        super().__init__("file", printable(files[0]), rule, example)
        self.usable = usable
        shown = "".join(
            f"\n  {printable(path)}" + (f": {why}" if (why := (reasons or {}).get(path)) else "")
            for path in files[:FILES_SHOWN]
        )
        more = len(files) - FILES_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        count = "1 file is" if len(files) == 1 else f"{len(files)} files are"
        words = f"{count} not usable ({rule}, for example {example!r})"
        self.args = (f"{words}:{shown}{rest}",)


def split_of(example_id: str) -> str:
    """Return the split of an example if it is divided by id. In general, read `Example.split`."""
    return hash_split(example_id)


def digest(examples: Iterable[Example]) -> str:
    """Return the hash that identifies these examples in `schema.yaml` and in reports."""
    total = hashlib.sha256(b"[")
    for i, example in enumerate(examples):
        known = example._asdict()
        names = ["id", "payload", "label", "slice", *(["group"] if example.group else [])]
        fields = ", ".join(f"{name}={known[name]!r}" for name in names)
        total.update(f"{', ' if i else ''}Example({fields})".encode())
    total.update(b"]")
    return total.hexdigest()


def printable(path: Path) -> str:
    """Return a path in which bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def labelled_files(
    source: Path, suffixes: set[str], normalize: Normalize | None = None
) -> Iterator[Example]:
    """Yield `<label>/<file>` and `<label>/<slice>/<file>` below a folder.

    If answers are no single labels, the folder may have an `answers.csv` instead; it must, if they
    have a function `normalize`, because folders cannot name such answers. Hidden files, and all
    files in hidden folders, are left out: `count_hidden_files` counts them.

    Raises:
        Refusal: the folder does not exist, its folders are splits instead of labels, or its
            `answers.csv` is not valid.
        UnusableFiles: files have another suffix, are not in the folder of a label, or cannot be
            read.
    """
    if not source.is_dir():
        content = "one folder per label" if COLUMN == "category" else f"inputs and {ANSWERS}"
        rule = f"an existing folder with {content}"
        raise Refusal("source", printable(source), rule, "my-data/")
    answers = _read_answers(source)
    if normalize and answers is None:
        rule = f"a folder with {ANSWERS}: the name of a folder is one label only"
        raise Refusal("source", printable(source), rule, f"file,answer\n{_EXAMPLE_ROW}")
    if normalize and answers:
        texts = normalize(ANSWERS, [text for text, _ in answers.values()])
        parts = (part for _, part in answers.values())
        answers = dict(zip(answers, zip(texts, parts, strict=True), strict=True))
    paths, unusable, reasons = list[Path](), list[Path](), dict[Path, str]()
    for path, reason in _walk(source):
        inside = path.relative_to(source).as_posix()
        if answers is not None and inside == ANSWERS:
            continue
        if answers is not None and path.suffix.lower() in suffixes and inside not in answers:
            reason = reason or f"not in {ANSWERS}"
        if reason:
            reasons[path] = reason
        is_placed = path.parent != source or answers is not None
        is_example = is_placed and path.suffix.lower() in suffixes
        (paths if is_example and not reason else unusable).append(path)
    if load_schema().split.folder != 1 and answers is None:
        _check_labels(sorted({path.relative_to(source).parts[0] for path in paths}))
    examples = (_read_file(path, source, answers) for path in paths)
    if unusable:
        is_label = answers is None and COLUMN == "category"
        place = "in the folder of its label" if is_label else f"and listed in {ANSWERS}"
        rule = f"every file must be {' or '.join(sorted(suffixes))}, {place}"
        example = f"{printable(source)}/{'a-label/' * is_label}1{min(suffixes)}"
        raise UnusableFiles(unusable, rule, example, examples, reasons)
    yield from examples


def _read_answers(source: Path) -> dict[str, tuple[str, str]] | None:
    """Return answer and slice of each file in `answers.csv`; None if folders are the answers."""
    path = source / ANSWERS
    if COLUMN == "category" or not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise Refusal(ANSWERS, printable(path), f"a CSV file ({error})", "file,answer") from None
    if not rows or not {"file", "answer"} <= rows[0].keys():
        columns = list(rows[0]) if rows else []
        rule = "the columns file and answer, and rows"
        raise Refusal(ANSWERS, columns, rule, "file,answer,slice")
    answers: dict[str, tuple[str, str]] = {}
    for row in rows:
        name = row["file"] or ""
        if name in answers:
            raise Refusal(ANSWERS, name, "each file once", _EXAMPLE_ROW)
        if not (source / name).is_file():
            raise Refusal(ANSWERS, name, "files in the same folder", _EXAMPLE_ROW)
        answers[name] = row["answer"] or "", row.get("slice") or "all"
    return answers


def count_hidden_files(source: Path) -> int:
    """Count the files that `labelled_files` leaves out: a part of their path starts with a dot."""
    found = 0
    for folder, _, files in os.walk(source):
        is_hidden = any(part[0] == "." for part in Path(folder).relative_to(source).parts)
        found += sum(is_hidden or name[0] == "." for name in files)
    return found


def _walk(source: Path) -> list[tuple[Path, str]]:
    """Return files that are not hidden, sorted, each with the reason why it cannot be read."""
    files = []
    unreadable = list[OSError]()
    for folder, folders, names in os.walk(source, onerror=unreadable.append):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in [name for name in folders if name.lower() in SYSTEM_FOLDERS]:
            folders.remove(name)
            files.append((Path(folder, name), "a folder of the system, not of examples"))
        links = [name for name in folders if Path(folder, name).is_symlink()]
        visible = [name for name in names if name[0] != "."]
        files += [(path := Path(folder, name), _find_fault(path)) for name in visible + links]
    files += [(Path(error.filename), f"unreadable ({error.strerror})") for error in unreadable]
    return sorted(files)


def _find_fault(path: Path) -> str:
    """Return why a file cannot be read, or an empty string. A link stands for its file."""
    if printable(path) != str(path):
        return "its name is not UTF-8; rename it"
    if path.is_dir():
        return "a link to a folder; put the folder itself here"
    if not path.is_file():
        return "not a regular file" if path.exists() else "a broken link"
    return "" if os.access(path, os.R_OK) else "no permission to read it"


def _check_labels(folders: list[str]) -> None:
    """Refuse folders that are splits. A single label may have such a name, like `train`."""
    splits = [name for name in folders if name.lower() in SPLIT_FOLDERS]
    if splits and (len(splits) > 1 or splits == folders):
        rule = (
            "labels as the first folders; if these are splits, set `split: {by: given, folder: 1}`"
            f" in schema.yaml, or merge the folders of each label, {splits[0]}/LABEL/1 into"
            f" LABEL/{splits[0]}-1"
        )
        raise Refusal("labels", splits, rule, ["good", "bad"])


def _read_file(path: Path, source: Path, answers: Mapping[str, tuple[str, str]] | None) -> Example:
    inside = path.relative_to(source)
    group, folders = load_schema().split.locate(inside)
    if answers is None:
        label, *slices = folders
    else:
        label, *slices = answers[inside.as_posix()]
    try:
        payload = path.read_bytes()
    except OSError as error:
        rule = f"a file that can be read ({error.strerror})"
        raise Refusal("file", printable(path), rule, "1.png") from None
    return Example(inside.as_posix(), payload, label, "/".join(slices) or "all", group)


def write_shards(examples: Iterable[Example], folder: Path) -> None:
    """Write the examples to a few Parquet files; replace the folder when all are written."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    rows, start, size = list[dict[str, Any]](), 0, 0
    for i, example in enumerate(examples):
        if rows and (len(rows) >= EXAMPLES_PER_SHARD or size >= BYTES_PER_SHARD):
            pq.write_table(pa.Table.from_pylist(rows, SHARD), draft / f"{start:09}.parquet")
            rows, start, size = [], i, 0
        rows.append(example._asdict())
        size += len(example.payload)
    if rows:
        pq.write_table(pa.Table.from_pylist(rows, SHARD), draft / f"{start:09}.parquet")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def count_examples(folder: Path) -> int:
    """Return the number of examples in a folder; damaged shards count as empty."""
    count = 0
    for shard in folder.glob("*.parquet"):
        with suppress(pa.ArrowInvalid, OSError):
            count += pq.read_metadata(shard).num_rows
    return count


def read_shards(folder: Path) -> Iterator[Example]:
    """Yield all examples in a folder, reading one shard at a time.

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
        yield from (_to_example(row) for row in rows)


def _to_example(row: dict[str, Any]) -> Example:
    """Accept rows written before 0.5.0: they have no split, and were divided by id."""
    return Example(**row | {"split": row.get("split") or split_of(row["id"])})
