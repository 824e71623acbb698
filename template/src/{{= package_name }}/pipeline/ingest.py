"""Read labelled payloads from your files, or the bundled sample data, into `data/raw`."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.progress import track

from ..artifacts import RAW, write_report
from ..examples import Example, read_shards, split_of, write_shards
from ..intake import take_in
from ..refusal import Refusal
from ..schema import SCHEMA, Schema, fingerprint, load_schema, use_schema, write_schema
from ..target.keys import EXAMPLES
from ..task.dataset import infer_schema, load_examples
from ..task.features import CONTENT_TYPES, features
from ..task.sample_data import sample_examples

FEEDBACK = Path("data/feedback")  # labelled requests, written by `ingest_feedback`
# Of 20, two are in the validation split on average: with fewer, a split often lacks the label.
MIN_EXAMPLES_PER_LABEL = 20
PROBLEMS_SHOWN = 10
# How the files of a format begin, where a task accepts several.
MAGIC = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff"}


def ingest(source: str = "") -> None:
    """Replace `data/raw` by the examples of a source, and print how many there are.

    Without an argument, the source is the one that `schema.yaml` names, and its examples must
    match that schema. A new source defines a new schema.

    Raises:
        SystemExit: the source breaks a rule; nothing was written.
    """
    try:
        schema = load_schema()
        if source:
            kept = {"feedback_sha256": schema.feedback_sha256}
            schema = infer_schema(Path(source)).model_copy(update=kept)
        use_schema(schema)
        is_sample = schema.source == "sample"
        rows = sample_examples() if is_sample else load_examples(Path(schema.source))
        examples = list(track(rows, "Reading", show_speed=False))
        labelled = _read_feedback(schema)
        _refuse_unusable(examples + labelled, schema)
        examples += _keep_new(labelled, examples)
    except Refusal as error:
        raise SystemExit(f"Nothing was ingested. {error}") from None
    write_shards(examples, RAW)
    if source:
        write_schema(schema.model_copy(update={"sha256": digest(examples)}))
    labels, slices = _count(e.label for e in examples), _count(e.slice for e in examples)
    counted = {"labels": labels, "slices": slices}
    write_report("ingest", {"source": schema.source} | counted)
    print(f"{len(examples)} examples from {schema.source}")
    for name, counts in counted.items():
        print(f"  {name}: " + ", ".join(f"{key} {n}" for key, n in counts.items()))


def digest(examples: list[Example]) -> str:
    """Return the hash by which `schema.yaml` identifies these examples."""
    return hashlib.sha256(repr(examples).encode()).hexdigest()


def _read_feedback(schema: Schema) -> list[Example]:
    """Return the labelled requests that the schema names, if any."""
    wanted = schema.feedback_sha256
    examples = list(read_shards(FEEDBACK)) if wanted else []
    if wanted and digest(examples) != wanted:
        raise SystemExit(f"{FEEDBACK} is not what {SCHEMA} names: `dvc pull`, or `make feedback`.")
    return examples


def _keep_new(labelled: list[Example], examples: list[Example]) -> list[Example]:
    """Drop requests that are copies of an example: one of the two could be held out."""
    known = {_fingerprint(example) for example in examples if labelled}
    by_content = {_fingerprint(example): example for example in labelled}
    return [example for content, example in by_content.items() if content not in known]


def _fingerprint(example: Example) -> bytes:
    return fingerprint(features(take_in(example.payload).raw))


def _refuse_unusable(examples: list[Example], schema: Schema) -> None:
    """Refuse the whole source if any example is unusable, instead of dropping it silently."""
    problems = []
    for example in track(examples, "Checking"):
        try:
            take_in(example.payload)
        except Refusal as error:
            problems.append(f"\n  {example.id}: {error}")
    if problems:
        count, shown = f"{len(problems)} of {len(examples)}", "".join(problems[:PROBLEMS_SHOWN])
        raise SystemExit(f"Nothing was ingested. {count} examples are unusable, like:{shown}")
    _refuse_labels(_count(e.label for e in examples), schema)


def _refuse_labels(counts: dict[str, int], schema: Schema) -> None:
    if len(counts) < 2:
        raise Refusal("labels", sorted(counts), "at least two labels", ["good", "bad"])
    if unknown := sorted(counts.keys() - set(schema.labels)):
        rule = "only labels that schema.yaml names (new data: `ingest PATH`)"
        raise Refusal("labels", unknown, rule, schema.labels[0])
    for label in schema.labels:
        if (n := counts.get(label, 0)) < MIN_EXAMPLES_PER_LABEL:
            raise Refusal(f"examples of {label}", n, "enough to split", MIN_EXAMPLES_PER_LABEL)


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def example() -> None:
    """Write a held-out input to data/, and print its label and how to send it."""
    chosen = next(e for e in read_shards(RAW) if split_of(e.id) == "test")
    kind = _content_type(chosen.payload)
    path = Path("data") / f"example{CONTENT_TYPES[kind]}"
    path.write_bytes(chosen.payload)
    print(f"{path} is {chosen.label}.")
    for place, command in EXAMPLES.items():
        print(f"Send it to {place}:\n  {command.format(kind=kind, path=path)}")


def _content_type(payload: bytes) -> str:
    """Return the content type of a payload, or the first one of the task."""
    kinds = (kind for kind in CONTENT_TYPES if kind in MAGIC and payload.startswith(MAGIC[kind]))
    return next(kinds, next(iter(CONTENT_TYPES)))
