"""Files that a template moves between releases, and the user's lines that name them.

git detects a move only if at least half of the file stays the same and the old path is gone. The
template lists its moves in `hooks/moves.yml`, so an update does not depend on either.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .files import read_text
from .imports import module_of, relative, resolve
from .questions import describe
from .refusal import Refusal
from .template import version_key

MOVES = "hooks/moves.yml"
GENERATED = "hooks/generated.yml"
PACKAGE = "src/*/"
EXAMPLE = "0.3.0: {src/*/serve.py: src/*/serving/app.py}"
# A `from` import, with its names in parentheses or up to the end of the line.
FROM = re.compile(
    r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)", re.MULTILINE
)
IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n#]+)", re.MULTILINE)
Mention = tuple[range, str, str]  # line numbers, old name, new name
QUOTED_PATH = re.compile(r"`([\w./-]+\.\w+)`")


def read_moves(template: Path) -> list[tuple[str, str]]:
    """Read the old and new path of every move, oldest release first; empty without the file.

    Raises Refusal if the file is invalid.
    """
    path = template / MOVES
    if not path.is_file():
        return []
    try:
        releases = yaml.safe_load(read_text(template, Path(MOVES))) or {}
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal(f"the template's {MOVES} is not YAML: {reason}") from None
    if problem := _problem(releases):
        raise Refusal(f"the template's {MOVES} is invalid: {problem}; an example: {EXAMPLE}")
    ordered = sorted(releases, key=version_key)
    return [move for release in ordered for move in releases[release].items()]


def read_generated(template: Path) -> list[str]:
    """Read the paths of files that a command of the project generates; empty without the list.

    Raises Refusal if the list is invalid.
    """
    path = template / GENERATED
    if not path.is_file():
        return []
    try:
        names = yaml.safe_load(read_text(template, Path(GENERATED))) or []
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal(f"the template's {GENERATED} is not YAML: {reason}") from None
    if not (isinstance(names, list) and all(map(_is_path, names))):
        raise Refusal(f"the template's {GENERATED} is invalid: write a list of paths in a project")
    return names


def _problem(releases: object) -> str:
    if not isinstance(releases, dict):
        return f"got {describe(releases)}, not a mapping"
    for release, moves in releases.items():
        if not (isinstance(release, str) and version_key(release)):
            return f"{describe(release)} is not a release"
        if not isinstance(moves, dict):
            return f"{release} has {describe(moves)}, not a mapping of old to new paths"
        for path in (path for move in moves.items() for path in move):
            if not _is_path(path):
                return f"{release} has {describe(path)}, which is not the path of a file"
        for old, new in moves.items():
            if new.startswith(PACKAGE) and not old.startswith(PACKAGE):
                return f"{release} moves {describe(old)} from outside {PACKAGE} into it"
    return ""


def _is_path(path: object) -> bool:
    if not isinstance(path, str):
        return False
    inside = path.removeprefix(PACKAGE)
    return "*" not in inside and not {"", ".", ".."} & {*inside.split("/")}


def moved_paths(
    moves: Iterable[tuple[str, str]], before: Collection[str], after: Collection[str]
) -> dict[str, str]:
    """Map old to new paths, for each file of `before` that `after` has at another path.

    Moves of several releases are chained. A path that exists in `before` is never a new path.
    """
    places = {name: name for name in before}
    for old, new in moves:
        pattern = re.compile(re.escape(old).replace(r"\*", "([^/]+)"))
        for name in list(places):
            if match := pattern.fullmatch(name):
                target = new.replace("*", "".join(match.groups()))
                # If the target exists, the file has moved before and the old path is an alias.
                if target not in places:
                    places[target] = places.pop(name)
    return {
        was: now for now, was in places.items() if now != was and now in after and now not in before
    }


@dataclass(frozen=True)
class Mentions:
    """Finds lines that name moved files: as a path, a module or an import."""

    moves: Mapping[str, str]
    rewritten: Collection[str] = ()
    """Files whose relative imports already refer to their new folder."""

    def find(self, name: str, text: str, rendered: Collection[str] = ()) -> list[str]:
        """List the lines of a file that name a moved file, except for lines of a render."""
        lines = text.split("\n")
        found = set()
        for span, old, new in [*self._texts(name, lines), *self._imports(name, text)]:
            if theirs := [number for number in span if lines[number - 1] not in rendered]:
                found.add((theirs[0], f"{old} is now {new}"))
        return [f"{name}:{number}: {words}" for number, words in sorted(found)]

    def _texts(self, name: str, lines: list[str]) -> Iterator[Mention]:
        """Find paths like `src/pack/serve.py` and modules like `pack.serve` in any text file."""
        tokens = {token: was for was in self.moves for token in (was, module_of(was)) if token}
        any_token = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
        pattern = re.compile(rf"(?<![\w.-])(?:{any_token})(?!\w)")
        is_markdown = name.endswith(".md")
        for number, line in enumerate(lines, 1):
            named = {tokens[token] for token in pattern.findall(line)}
            for path in QUOTED_PATH.findall(line) if is_markdown else ():
                named |= {was for was, now in self.moves.items() if _ends(was, path, now)}
            for was in named:
                yield range(number, number + 1), *_short(was, self.moves[was])

    def _imports(self, name: str, text: str) -> Iterator[Mention]:
        """Find relative imports and imported modules, which `_texts` cannot find."""
        if not name.endswith(".py"):
            return
        modules = {module_of(was): was for was in self.moves if module_of(was)}
        origins = {now: was for was, now in self.moves.items() if now not in self.rewritten}
        came_from = origins.get(name, name)
        top = name.partition("/")[0]
        if top != "src":  # tests import helpers in their folder by bare name
            modules |= {Path(was).stem: was for was in self.moves if was.startswith(f"{top}/")}
        for match in FROM.finditer(text):
            dots, module, names = match.groups()
            parent = resolve(came_from, len(dots), module)
            named = [parent, *(f"{parent}.{word}" for word in re.findall(r"\w+", names))]
            moved = [modules[one] for one in named if one in modules]
            if dots and resolve(name, len(dots), module) != parent:
                # The file has moved, so its relative imports now start in another folder.
                target = module_of(self.moves[modules[parent]]) if parent in modules else parent
                yield _span(text, match), f"{dots}{module}", relative(name, target)
                moved = [was for was in moved if was != modules.get(parent)]
            for was in moved:
                yield _span(text, match), *_short(was, self.moves[was])
        for match in IMPORT.finditer(text):
            for one in re.findall(r"[\w.]+", match[1]):
                if one in modules:
                    yield _span(text, match), *_short(modules[one], self.moves[modules[one]])


def _span(text: str, match: re.Match[str]) -> range:
    """Return the line numbers of a match."""
    first = text.count("\n", 0, match.start()) + 1
    return range(first, first + match[0].count("\n") + 1)


def _ends(was: str, path: str, now: str) -> bool:
    """Whether a quoted path names a moved file, and is not also correct for its new path."""
    return f"/{was}".endswith(f"/{path}") and not f"/{now}".endswith(f"/{path}")


def _short(old: str, new: str) -> tuple[str, str]:
    """Leave out the package folder if both paths are inside it."""
    package = "".join(part + "/" for part in old.split("/")[:2])
    if package.startswith("src/") and new.startswith(package):
        return old.removeprefix(package), new.removeprefix(package)
    return old, new
