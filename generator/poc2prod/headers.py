"""Merge the imports at the top of a Python file as a set.

git merges by neighbouring lines, so a change of the template's imports would conflict with every
import that the user added next to them.
"""

import ast
import re
import sys
from dataclasses import dataclass, replace

from .imports import Import, Key, Source, join_neighbours


@dataclass(frozen=True)
class Chunk:
    """An import with the comments above it and on its line."""

    text: str
    key: Key
    kind: str
    alias: str
    """The name after `as`, or empty."""
    module: str = ""
    names: tuple[str, ...] = ()
    """What `from module import ...` imports, if it is on one line without comments."""


@dataclass(frozen=True)
class Header:
    """Leading imports: their first line, the line after the last, and their sections."""

    start: int
    end: int
    sections: list[list[Chunk]]

    @property
    def chunks(self) -> set[str]:
        """The imports, as written."""
        return {chunk.text for section in self.sections for chunk in section}

    def put_into(self, lines: list[str], place: "Header") -> str:
        """Return a file with its imports replaced by these."""
        text = "\n\n".join("\n".join(join_neighbours([c.text for c in s])) for s in self.sections)
        return "\n".join([*lines[: place.start], text, *lines[place.end :]])


def merge_headers(base: str, ours: str, theirs: str) -> tuple[str, str] | None:
    """Return `base` and `ours` with the imports of `theirs`; `ours` keeps its own changes.

    Returns None if a file cannot be parsed or does not start with imports.
    """
    if "\r" in base + ours + theirs:
        return None
    try:
        before, mine, new = (_header(text) for text in (base, ours, theirs))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not (before and mine and new):
        return None
    dropped = before.chunks - mine.chunks
    kept = [[c for c in section if c.text not in dropped] for section in new.sections]
    merged = Header(0, 0, [section for section in kept if section])
    body = "\n".join({*ours.split("\n")[mine.end :]} - {*base.split("\n")})
    for section in mine.sections:
        for original in section:
            chunk = _without_names_of_the_template(original, before, body)
            # The user's code may use a moved module under its old name.
            is_used = chunk.alias and re.search(rf"\b{re.escape(chunk.alias)}\b", body)
            is_own = bool(chunk.text) and chunk.text not in before.chunks | new.chunks
            if is_own or (is_used and chunk.text not in new.chunks):
                _insert(merged.sections, chunk, {other.text for other in section})
    as_theirs = theirs.split("\n")[new.start : new.end]
    lines = base.split("\n")
    lines[before.start : before.end] = as_theirs
    own = ours.split("\n")
    if merged.chunks == new.chunks:
        own[mine.start : mine.end] = as_theirs
        return "\n".join(lines), "\n".join(own)
    return "\n".join(lines), merged.put_into(own, mine)


def _without_names_of_the_template(chunk: Chunk, before: Header, body: str) -> Chunk:
    """Drop names that the base imports from the same module, unless the user's lines use them.

    The template may have stopped using them. Text is empty if no name is left.
    """
    others = {
        name
        for section in before.sections
        for other in section
        if other.module == chunk.module and other.text != chunk.text
        for name in other.names
    }
    names = [
        name
        for name in chunk.names
        if name not in others or re.search(rf"\b{re.escape(name.split()[-1])}\b", body)
    ]
    if chunk.text in before.chunks or len(names) == len(chunk.names):
        return chunk
    text = f"from {chunk.module} import {', '.join(names)}" if names else ""
    return replace(chunk, text=text, names=tuple(names))


def _header(text: str) -> Header | None:
    source, lines = Source(text), text.split("\n")
    body = ast.parse(text).body
    first = next((n for n, node in enumerate(body) if isinstance(node, Import)), None)
    if first is None:
        return None
    header = Header(body[first].lineno - 1, 0, [[]])
    end = header.start
    for node in body[first:]:
        if not isinstance(node, Import) or not source.is_alone(node):
            break
        between = lines[end : node.lineno - 1]
        if any(not line.strip() for line in between) and header.sections[-1]:
            header.sections.append([])
        comments = [line for line in between if line.strip()]
        end = node.end_lineno or node.lineno
        chunk = "\n".join([*comments, *lines[node.lineno - 1 : end]])
        names = [f"{one.name} as {one.asname}" if one.asname else one.name for one in node.names]
        module = ""
        if isinstance(node, ast.ImportFrom) and "\n" not in chunk and "#" not in chunk:
            module = "." * node.level + (node.module or "")
        header.sections[-1].append(
            Chunk(
                chunk,
                source.statement(node).key,
                _kind(node),
                node.names[0].asname or "",
                module,
                tuple(names) if module else (),
            )
        )
    return Header(header.start, end, header.sections) if header.chunks else None


def _kind(node: Import) -> str:
    """Return the section in which ruff puts an import."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return "local"
    module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
    top = (module or "").partition(".")[0]
    return "standard library" if top in sys.stdlib_module_names else "installed"


def _insert(sections: list[list[Chunk]], chunk: Chunk, neighbours: set[str]) -> None:
    """Insert an import in sort order, in the section most similar to its original one."""

    def similarity(section: list[Chunk]) -> tuple[int, int]:
        shared = sum(other.text in neighbours for other in section)
        return shared, sum(other.kind == chunk.kind for other in section)

    fitting = max(sections, key=similarity, default=[])
    if not fitting or similarity(fitting) == (0, 0):
        fitting = []
        sections.insert(0 if chunk.kind == "standard library" else len(sections), fitting)
    after = (number for number, other in enumerate(fitting) if other.key > chunk.key)
    fitting.insert(next(after, len(fitting)), chunk)
