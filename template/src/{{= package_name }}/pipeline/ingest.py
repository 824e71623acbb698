"""Read labelled examples from your files, or from the bundled sample, into `data/raw`."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from ..artifacts import RAW, describe_data, write_report
from ..examples import (
    Example,
    UnusableFiles,
    count_examples,
    count_hidden_files,
    digest,
    read_shards,
    write_shards,
)
from ..intake import take_in
from ..problem import data as problem_data
from ..refusal import Refusal, check_names, reject_look_alikes
from ..schema import SCHEMA, Schema, fingerprint, load_schema, use_schema, write_schema
from ..scope import read_yaml
from ..splitting.divide import SPLITS, choose_seed, divide
from ..splitting.keys import key_of
from ..target.keys import EXAMPLES
from ..task.contract import contract
from ..task.dataset import infer_schema, load_examples
from ..task.features import CONTENT_TYPES, features
from .sample import drop_sample, sample_examples

FEEDBACK = Path("data/feedback")  # labelled requests, written by `ingest_feedback`
DRAFT = RAW.with_name("raw.draft")  # examples whose splits are not known yet
PROBLEMS_SHOWN = 10
# First bytes of each format, for tasks that accept several.
MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}
CONTRACT = f"src/{__package__.partition('.')[0]}/task/contract.py"


class Row(NamedTuple):
    """What is kept in memory of an example: its payload stays on disk."""

    id: str
    label: str
    slice: str
    key: str  # examples with the same key are in the same split


def ingest(source: str = "") -> None:
    """Replace `data/raw` with the examples of a source, and print how many there are.

    Without an argument, read the source named in `schema.yaml`; its examples must match that
    schema. A source given here replaces the schema, except for `split`.

    Raises:
        SystemExit: the source is invalid; the message names all problems. Nothing was written.
    """
    after = _describe_previous() if source else ""
    try:
        schema, problems = _read(source)
        labelled = _read_feedback(schema)
        problems += _find_invalid(labelled)
        if not problems:
            labelled = _keep_new(labelled, _drafts())
        rows = [_to_row(example, key_of(example, schema.split)) for example in _drafts()]
        is_unknown = bool(schema.split.place)  # requests have no group
        rows += [_to_row(e, "" if is_unknown else key_of(e, schema.split)) for e in labelled]
        schema, splits = _divide(rows, len(labelled), schema, is_new=bool(source))
        problems += _find_problems(rows, splits, schema)
        if not problems:
            whole = zip(chain(_drafts(), labelled), splits, strict=True)
            write_shards((example._replace(split=split) for example, split in whole), RAW)
    except Refusal as error:
        problems = [str(error)]
    finally:
        shutil.rmtree(DRAFT, ignore_errors=True)
    if problems:
        raise SystemExit("\n".join(["Nothing was ingested. " + problems[0], *problems[1:]]) + after)
    sha256 = digest(read_shards(RAW))
    if source:
        write_schema(schema.model_copy(update={"sha256": sha256}))
        drop_sample()
    _summarize(schema, rows, splits, len(labelled), sha256)


def _read(source: str) -> tuple[Schema, list[str]]:
    """Write all usable examples to `DRAFT`; return the schema, and what is unusable."""
    try:
        schema = _choose_schema(source)
        is_sample = schema.source == "sample"
        rows = sample_examples() if is_sample else load_examples(Path(schema.source))
        write_shards(track(rows, "Reading", show_speed=False), DRAFT)
    except UnusableFiles as error:
        write_shards(error.usable, DRAFT)
        found = problem_data.list_labels({example.label for example in _drafts()})
        labels = found if source else load_schema().labels
        return load_schema().model_copy(update={"labels": labels}), [str(error)]
    return schema, []


def _drafts() -> Iterator[Example]:
    return read_shards(DRAFT) if any(DRAFT.glob("*.parquet")) else iter(())


def _to_row(example: Example, key: str) -> Row:
    return Row(example.id, example.label, example.slice, key)


def _divide(
    rows: list[Row], requests: int, schema: Schema, *, is_new: bool
) -> tuple[Schema, list[str]]:
    """Return the split of each row. For a new source, choose the seed; the last rows are requests.

    Raises:
        Refusal: a key is not a time, or not a split.
    """
    keys, ids = [row.key for row in rows], [row.id for row in rows]
    split = schema.split
    if is_new and rows:
        end = len(rows) - requests
        strata = problem_data.strata([row.label for row in rows[:end]])
        split = choose_seed(keys[:end], ids[:end], strata, split)
    splits = divide(keys, ids, split, requests) if rows else []
    return schema.model_copy(update={"split": split}), splits


def _choose_schema(source: str) -> Schema:
    """Return the schema of a new source, or the one in use."""
    schema = load_schema()
    if source:
        _check_name(source)
        kept = {"feedback_sha256": schema.feedback_sha256, "split": schema.split}
        listed = schema.labels
        schema = infer_schema(Path(source)).model_copy(update=kept)
        if schema.label_column:  # folders are named by hand, columns are not
            problem_data.check_column(schema.label_column, schema.labels, listed)
    use_schema(schema)
    return schema


def _check_name(source: str) -> None:
    """Refuse a path that `schema.yaml` cannot store."""
    try:
        source.encode()
    except UnicodeEncodeError:
        rule = "a path in UTF-8; rename it"
        raise Refusal("source", os.fsencode(source), rule, "my-data") from None


def _read_feedback(schema: Schema) -> list[Example]:
    """Return the labelled requests that the schema refers to, if any, oldest first."""
    wanted = schema.feedback_sha256
    examples = list(read_shards(FEEDBACK)) if wanted else []
    if wanted and digest(examples) != wanted:
        raise SystemExit(f"{FEEDBACK} differs from {SCHEMA}. Run `dvc pull` or `make feedback`.")
    oldest_first = sorted(examples, key=lambda example: float(example.group or 0))
    return [example._replace(group="") for example in oldest_first]


def _keep_new(labelled: list[Example], examples: Iterable[Example]) -> list[Example]:
    """Drop requests that are copies of an example: the copies could leak between splits."""
    known = {_fingerprint(example) for example in examples} if labelled else set()
    by_content = {_fingerprint(example): example for example in labelled}
    return [example for content, example in by_content.items() if content not in known]


def _fingerprint(example: Example) -> bytes:
    return fingerprint(features(take_in(example.payload).raw))


def _find_invalid(labelled: list[Example]) -> list[str]:
    """Describe the examples that are invalid: with one of them, a source is rejected as a whole."""
    problems, total = list[str](), count_examples(DRAFT) + len(labelled)
    for example in track(chain(_drafts(), labelled), "Checking", total):
        try:
            take_in(example.payload)
        except Refusal as error:
            problems.append(f"\n  {example.id}: {error}")
    if problems:
        count, shown = f"{len(problems)} of {total}", "".join(problems[:PROBLEMS_SHOWN])
        problems = [f"{count} examples are unusable, like:{shown}", *_name_rules(problems)]
    return problems


def _find_problems(rows: list[Row], splits: list[str], schema: Schema) -> list[str]:
    """Describe names that look alike, and answers that are unknown, or too few in a split."""
    problems = []
    labels = problem_data.list_labels({row.label for row in rows})
    checked = {"label": labels, "slice": {row.slice for row in rows}, "column": [*schema.columns]}
    for field, names in checked.items():
        try:
            reject_look_alikes(field, names)
            check_names(field, names)
        except Refusal as error:
            problems.append(str(error))
    found, keys = [row.label for row in rows], [row.key for row in rows]
    rule = schema.split
    return problems + problem_data.find_problems(
        found, keys, splits, schema.labels, rule.by, rule.place
    )


def _name_rules(problems: list[str]) -> list[str]:
    """Name the files in which the limits of the invalid facts are set."""
    rules = []
    limited = {CONTRACT: list(contract().model_fields), str(SCHEMA): list(load_schema().columns)}
    for path, fields in limited.items():
        named = [name for name in fields if any(f": {name}: got " in line for line in problems)]
        if named:
            rules.append(f"If these are valid, edit the limits of {', '.join(named)} in {path}.")
    return rules


def _summarize(
    schema: Schema, rows: list[Row], splits: list[str], requests: int, sha256: str
) -> None:
    """Write and print how many examples there are of each label, slice and split."""
    split = schema.split
    counted = {
        **problem_data.summarize([row.label for row in rows]),
        "slices": _count(row.slice for row in rows),
        "splits": {name: splits.count(name) for name in SPLITS},
    }
    if split.by == "group":
        groups = {(row.key, name) for row, name in zip(rows, splits, strict=True) if row.key}
        counted["groups"] = {name: sum(name == used for _, used in groups) for name in SPLITS}
    known = {"source": schema.source, "examples": len(rows), "sha256": sha256}
    rule = {"by": split.by, "place": split.place}
    write_report("ingest", known | counted | {"split": rule})
    print(f"{len(rows)} examples from {schema.source}")
    if schema.source != "sample" and (hidden := count_hidden_files(Path(schema.source))):
        print(f"  left out: {hidden} hidden {'file' if hidden == 1 else 'files'}")
    for field, counts in counted.items():
        print(f"  {field}: " + ", ".join(f"{key} {n}" for key, n in counts.items()))
    print(f"  divided by {split.by}" + (f" ({split.place})" if split.place else ""))
    if split.place and requests:
        where = "the latest examples" if split.by == "time" else "for training: no group is known"
        print(f"  {requests} labelled requests are {where}")
    if advice := problem_data.find_advice([row.label for row in rows], splits):
        print(f"  {advice}")


def _describe_previous() -> str:
    """Describe the data that `make model` uses if a new source is rejected."""
    named = read_yaml(SCHEMA, Schema).source
    return f"\n`make model` would still use the previous data: {describe_data(named)}."


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def example() -> None:
    """Write a held-out input to data/, and print its label and how to send it."""
    held_out = (e for e in read_shards(RAW) if e.split == "test")
    chosen = next((e for e in held_out if _is_accepted(e.payload)), None)
    if not chosen:
        raise SystemExit(f"No held-out input is valid now. `ingest` lists the problems of {RAW}.")
    kind = _content_type(chosen.payload)
    path = Path("data") / f"example{CONTENT_TYPES[kind]}"
    path.write_bytes(chosen.payload)
    print(f"{path} is {problem_data.describe(chosen.label)}.")
    for place, command in EXAMPLES.items():
        print(f"Send it to {place}:\n  {command.format(kind=kind, path=path)}")


def _is_accepted(payload: bytes) -> bool:
    try:
        take_in(payload)
    except Refusal:
        return False
    return True


def _content_type(payload: bytes) -> str:
    """Return the content type of a payload, or the first one of the task."""
    kinds = (kind for kind in CONTENT_TYPES if kind in MAGIC and payload.startswith(MAGIC[kind]))
    return next(kinds, next(iter(CONTENT_TYPES)))
