"""Read labelled examples from your files, or from the bundled sample, into `data/raw`."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.progress import track

from ..artifacts import RAW, describe_data, write_report
from ..examples import (
    Example,
    UnusableFiles,
    count_hidden_files,
    digest,
    read_shards,
    split_of,
    write_shards,
)
from ..intake import take_in
from ..refusal import Refusal, reject_look_alikes
from ..schema import SCHEMA, Schema, fingerprint, load_schema, use_schema, write_schema
from ..scope import read_yaml
from ..target.keys import EXAMPLES
from ..task.contract import contract
from ..task.dataset import infer_schema, load_examples
from ..task.features import CONTENT_TYPES, features
from ..task.sample_data import sample_examples

FEEDBACK = Path("data/feedback")  # labelled requests, written by `ingest_feedback`
# Two of 20 are in the validation split on average. With fewer, a split often lacks the label.
MIN_EXAMPLES_PER_LABEL = 20
# With so many examples, one is in the split with 95 % probability: log(0.05) / log(1 - share).
NEEDED = {"validation": 29, "test": 14, "train": 3}
PROBLEMS_SHOWN = 10
# First bytes of each format, for tasks that accept several.
MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}
CONTRACT = f"src/{__package__.partition('.')[0]}/task/contract.py"


def ingest(source: str = "") -> None:
    """Replace `data/raw` with the examples of a source, and print how many there are.

    Without an argument, read the source named in `schema.yaml`; its examples must match that
    schema. A source given here replaces the schema.

    Raises:
        SystemExit: the source is invalid; the message names all problems. Nothing was written.
    """
    after = _describe_previous() if source else ""
    try:
        schema = load_schema()
        if source:
            _check_name(source)
            kept = {"feedback_sha256": schema.feedback_sha256}
            schema = infer_schema(Path(source)).model_copy(update=kept)
        use_schema(schema)
        is_sample = schema.source == "sample"
        rows = sample_examples() if is_sample else load_examples(Path(schema.source))
        examples = list(track(rows, "Reading", show_speed=False))
        labelled = _read_feedback(schema)
        problems = _find_problems(examples + labelled, schema.labels)
    except UnusableFiles as error:
        usable = list(error.usable)
        expected = sorted({e.label for e in usable}) if source else load_schema().labels
        problems = [str(error), *_find_problems(usable, expected)]
    except Refusal as error:
        problems = [str(error)]
    if problems:
        raise SystemExit("\n".join(["Nothing was ingested. " + problems[0], *problems[1:]]) + after)
    examples += _keep_new(labelled, examples)
    write_shards(examples, RAW)
    sha256 = digest(examples)
    if source:
        write_schema(schema.model_copy(update={"sha256": sha256}))
    labels, slices = _count(e.label for e in examples), _count(e.slice for e in examples)
    counted = {"labels": labels, "slices": slices}
    known = {"source": schema.source, "examples": len(examples), "sha256": sha256}
    write_report("ingest", known | counted)
    print(f"{len(examples)} examples from {schema.source}")
    if not is_sample and (hidden := count_hidden_files(Path(schema.source))):
        print(f"  left out: {hidden} hidden {'file' if hidden == 1 else 'files'}")
    for name, counts in counted.items():
        print(f"  {name}: " + ", ".join(f"{key} {n}" for key, n in counts.items()))
    if len(labels) > 2 and all(label.isdecimal() for label in labels):
        print("  Each label is a class: predicting 3 for 4 is as wrong as 0. Amounts need bins.")


def _check_name(source: str) -> None:
    """Refuse a path that `schema.yaml` cannot store."""
    try:
        source.encode()
    except UnicodeEncodeError:
        rule = "a path in UTF-8; rename it"
        raise Refusal("source", os.fsencode(source), rule, "my-data") from None


def _read_feedback(schema: Schema) -> list[Example]:
    """Return the labelled requests that the schema refers to, if any."""
    wanted = schema.feedback_sha256
    examples = list(read_shards(FEEDBACK)) if wanted else []
    if wanted and digest(examples) != wanted:
        raise SystemExit(f"{FEEDBACK} differs from {SCHEMA}. Run `dvc pull` or `make feedback`.")
    return examples


def _keep_new(labelled: list[Example], examples: list[Example]) -> list[Example]:
    """Drop requests that are copies of an example: the copies could leak between splits."""
    known = {_fingerprint(example) for example in examples if labelled}
    by_content = {_fingerprint(example): example for example in labelled}
    return [example for content, example in by_content.items() if content not in known]


def _fingerprint(example: Example) -> bytes:
    return fingerprint(features(take_in(example.payload).raw))


def _find_problems(examples: list[Example], labels: list[str]) -> list[str]:
    """Describe all problems: a source with one invalid example is rejected, not read in part."""
    problems = []
    for example in track(examples, "Checking"):
        try:
            take_in(example.payload)
        except Refusal as error:
            problems.append(f"\n  {example.id}: {error}")
    if problems:
        count, shown = f"{len(problems)} of {len(examples)}", "".join(problems[:PROBLEMS_SHOWN])
        problems = [f"{count} examples are unusable, like:{shown}", *_name_rules(problems)]
    for field in ("label", "slice"):
        try:
            reject_look_alikes(field, {getattr(example, field) for example in examples})
        except Refusal as error:
            problems.append(str(error))
    return problems + _find_label_problems(examples, labels)


def _name_rules(problems: list[str]) -> list[str]:
    """Name the files in which the limits of the invalid facts are set."""
    rules = []
    limited = {CONTRACT: list(contract().model_fields), str(SCHEMA): list(load_schema().columns)}
    for path, fields in limited.items():
        named = [name for name in fields if any(f": {name}: got " in line for line in problems)]
        if named:
            rules.append(f"If these are valid, edit the limits of {', '.join(named)} in {path}.")
    return rules


def _find_label_problems(examples: list[Example], labels: list[str]) -> list[str]:
    """Describe all labels that are unknown, or that would be missing from a split."""
    counts = _count(e.label for e in examples)
    if len(counts) < 2:
        return [str(Refusal("labels", sorted(counts), "at least two labels", ["good", "bad"]))]
    problems = []
    if unknown := sorted(counts.keys() - set(labels)):
        rule = "only labels in schema.yaml (new data: `ingest PATH`)"
        problems.append(str(Refusal("labels", unknown, rule, labels[0])))
    in_splits = {(e.label, split_of(e.id)) for e in examples}
    for label in labels:
        n = counts.get(label, 0)
        lacking = [split for split in NEEDED if (label, split) not in in_splits]
        if n < MIN_EXAMPLES_PER_LABEL:
            more = MIN_EXAMPLES_PER_LABEL - n
            rule = f"{n} of at least {MIN_EXAMPLES_PER_LABEL} examples; add {more} more"
            problems.append(f"label {label}: {rule}")
        elif lacking:
            more = max(NEEDED[split] for split in lacking)
            rule = f"none of {n} examples is in the {' or '.join(lacking)} split"
            problems.append(f"label {label}: {rule}; add about {more} more")
    return problems


def _describe_previous() -> str:
    """Describe the data that `make model` uses if a new source is rejected."""
    named = read_yaml(SCHEMA, Schema).source
    return f"\n`make model` would still use the previous data: {describe_data(named)}."


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def example() -> None:
    """Write a held-out input to data/, and print its label and how to send it."""
    held_out = (e for e in read_shards(RAW) if split_of(e.id) == "test")
    chosen = next((e for e in held_out if _is_accepted(e.payload)), None)
    if not chosen:
        raise SystemExit(f"No held-out input is valid now. `ingest` lists the problems of {RAW}.")
    kind = _content_type(chosen.payload)
    path = Path("data") / f"example{CONTENT_TYPES[kind]}"
    path.write_bytes(chosen.payload)
    print(f"{path} is {chosen.label}.")
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
