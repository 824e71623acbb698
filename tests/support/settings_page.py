"""Write `includes/settings.md`, the page about all settings, from the code of every kind of render.

Run `make deps` after changing a setting in the template; until then,
`tests/template/test_settings_page.py` fails.
"""

import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import copier

from environment import ROOT, release
from repository import done, run_in

PAGE = ROOT / "includes" / "settings.md"
NAME = "{{= package_name | upper }}"
KINDS = {  # in this order, a kind has most lines of those after it
    "hybrid, mqtt": {"target": "hybrid", "uplink": "mqtt"},
    "hybrid, https": {"target": "hybrid"},
    "edge, mqtt": {"target": "edge", "uplink": "mqtt"},
    "edge, https": {"target": "edge"},
    "cloud": {"target": "cloud"},
}
PROBLEMS = {
    "classification": "",
    "multilabel": ", several",
    "regression": ", number",
    "forecast": ", series",
}
KINDS = {
    f"{kind}{end}": how | {"problem": problem, "modality": "tabular"}
    for problem, end in PROBLEMS.items()
    for kind, how in KINDS.items()
}
GIVEN = "cloud, given"
TREES = "cloud, trees"
KINDS[GIVEN] = {"target": "cloud", "framework": "onnx"}
KINDS[TREES] = {"target": "cloud", "framework": "trees", "modality": "tabular"}
ALL = set(KINDS)


def _of(*ends: str) -> set[str]:
    """Return the kinds with one of these ends; those with one label have none."""
    return {kind for kind in ALL if any(_end(kind) == end for end in ends)}


def _end(kind: str) -> str:
    return next((end for end in PROBLEMS.values() if end and kind.endswith(end)), "")


PLACES = {  # Jinja conditions, and the kinds where they are true
    "server": {kind for kind in ALL if not kind.startswith("edge")},
    "device": {kind for kind in ALL if not kind.startswith("cloud")},
    "hybrid": {kind for kind in ALL if kind.startswith("hybrid")},
    "mqtt": {kind for kind in ALL if "mqtt" in kind},
    "https": {kind for kind in ALL if "https" in kind},
}
NUMERIC = _of(PROBLEMS["regression"], PROBLEMS["forecast"])
ANSWERS = {
    "numeric": NUMERIC,
    "not numeric": ALL - NUMERIC,
    **{name: _of(end) for name, end in PROBLEMS.items()},
    **{f"not {name}": ALL - _of(end) for name, end in PROBLEMS.items()},
}
CONDITIONS = PLACES | ANSWERS | {"network": ALL - {GIVEN, TREES}}
CONDITIONS |= {"not onnx": ALL - {GIVEN}, "not trees": ALL - {TREES}}
CONDITIONS |= {
    f"{place} and {answer}": PLACES[place] & ANSWERS[answer]
    for place in PLACES
    for answer in ANSWERS
}
BLANK = "{{= '' }}\n"  # Jinja would drop a blank line after a statement
Line = tuple[str, int, str]  # the heading above it, its number among equal lines, its text


def describe(folder: Path) -> dict[str, str]:
    """Return the page of each kind of render, as its command `settings` prints it."""
    source = release(folder / "source")
    pages = {}
    for kind, answers in KINDS.items():
        render = folder / kind.replace(", ", "-")
        copier.run_copy(str(source), render, data=answers, defaults=True, quiet=True)
        command = ("python", "-m", "scratch_detector", "settings")
        pages[kind] = done(run_in(render, *command, PYTHONPATH="src"))
    return pages


def _lines(page: str) -> Iterator[Line]:
    heading, seen = "", list[Line]()
    for text in page.splitlines():
        if text and not text.startswith("|"):
            heading = text
        line = (heading, sum(other[::2] == (heading, text) for other in seen), text)
        seen.append(line)
        yield line


def merge(pages: dict[str, str]) -> str:
    """Return one page with Jinja's conditions around the lines that only some kinds have."""
    merged: list[Line] = []
    kinds: dict[Line, set[str]] = {}
    for kind, page in pages.items():
        at = 0
        for line in _lines(page):
            if line in kinds:
                at = merged.index(line) + 1
            else:
                merged.insert(at, line)
                at += 1
            kinds.setdefault(line, set()).add(kind)
    written = []
    for where, group in groupby(merged, kinds.__getitem__):
        block = [f"{text.replace('SCRATCH_DETECTOR', NAME)}\n" for *_, text in group]
        if block[0] == "\n":
            block[0] = BLANK
        if where != set(pages):
            block = [f"# ? if {_condition(where)}\n", *block, "# ? endif\n"]
        written += block
    return "".join(written)


def _condition(kinds: set[str]) -> str:
    for words, where in CONDITIONS.items():
        if kinds == where:
            return words
    raise SystemExit(f"CONDITIONS has no entry for exactly {sorted(kinds)}: add one")


def main() -> None:
    before = PAGE.read_text() if PAGE.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.touch()  # the template includes it
        after = merge(describe(Path(folder)))
    PAGE.write_text(after)
    print(f"{PAGE.relative_to(ROOT)}: {'unchanged' if after == before else 'rewritten'}")


if __name__ == "__main__":
    main()
