"""Merge the comments of settings in YAML, so that a changed value and a changed comment agree.

Users change values and the template changes comments, often on the same or on adjacent lines,
which git reports as conflicts. Where the user has not edited a comment, both the base and the
user's file get the template's comment before git merges them.
"""

import re
from dataclasses import dataclass, replace

import yaml

# A key with its value; quoted values may contain `#`.
ENTRY = re.compile(
    r"(?P<indent> *)(?P<key>[\w.-]+):(?P<value>(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^#\"'])*?)"
    r"(?P<comment>\s+#.*)?"
)


@dataclass(frozen=True)
class Entry:
    """A setting: the comments above it, its line without the comment, and the comment in it."""

    above: tuple[str, ...]
    setting: str
    comment: str

    def __str__(self) -> str:
        return "\n".join([*self.above, self.setting + self.comment])


def merge_comments(base: str, ours: str, theirs: str) -> tuple[str, str] | None:
    """Return base and ours with the comments of the template, where ours has those of base.

    None if a text is not a plain mapping of settings, or if nothing changes.
    """
    parsed = [_parse(text) for text in (base, ours, theirs)]
    if any(entries is None for entries in parsed):
        return None
    old, mine, new = ({**entries} for entries in parsed if entries is not None)
    for path in old.keys() & mine.keys() & new.keys():
        before = old[path]
        for part in ("above", "comment"):
            if getattr(mine[path], part) == getattr(before, part):
                change = {part: getattr(new[path], part)}
                old[path], mine[path] = replace(old[path], **change), replace(mine[path], **change)
    merged = "\n".join(map(str, old.values())), "\n".join(map(str, mine.values()))
    same_values = all(
        yaml.safe_load(after) == yaml.safe_load(text)
        for after, text in zip(merged, (base, ours), strict=True)
    )
    return merged if same_values and merged != (base, ours) else None


def _parse(text: str) -> dict[tuple[str, ...], Entry] | None:
    """Return the entries by their path of keys, in order; the last one holds what is below all."""
    entries: dict[tuple[str, ...], Entry] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            above.append(line)
            continue
        if not (match := ENTRY.fullmatch(line)):
            return None
        indent = len(match["indent"])
        path = [part for part in path if part[0] < indent] + [(indent, match["key"])]
        keys = tuple(key for _, key in path)
        if keys in entries:
            return None
        comment = match["comment"] or ""
        entries[keys] = Entry(tuple(above), line.removesuffix(comment), comment)
        above = []
    if above:
        entries[()] = Entry(tuple(above[:-1]), above[-1], "")
    return entries
