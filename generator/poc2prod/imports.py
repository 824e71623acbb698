"""Rewrite imports of modules that a template has moved.

A move changes dots and module names in imports, next to lines that the user has edited. Applying
the same rewrite to the old version and to the project leaves git nothing to merge there.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

LINE_LENGTH = 100
FROM = re.compile(r"from[\s\\]*([\w.]+)[\s\\]*import\b")
SIMPLE = re.compile(r"([ \t]*from [\w.]+ import )(\w+(?:, \w+)*)")
Import = ast.Import | ast.ImportFrom
Key = tuple[bool, int, str, tuple[int, str]]


@dataclass(frozen=True)
class Statement:
    """An import in the source: its position in characters, its text and its sort key."""

    start: int
    end: int
    text: str
    key: Key


@dataclass(frozen=True)
class RewrittenFile:
    """A file with rewritten imports, and each changed import: before and after."""

    text: str
    changes: list[tuple[str, str]]


@dataclass(frozen=True)
class Imports:
    """Rewrites imports for moves from old to new paths."""

    moves: Mapping[str, str]

    def rewrite(self, file: str, text: str) -> RewrittenFile:
        """Rewrite the imports of one file, given by its old path; other lines do not change.

        Raises SyntaxError or ValueError if the file cannot be parsed.
        """
        source = Source(text)
        pieces, changes, done = [], [], 0
        for block in _blocks(ast.parse(text), source):
            before = [source.statement(node) for node in block]
            after = [self._rewrite_statement(file, node, source) for node in block]
            if all(new == [old] for old, new in zip(before, after, strict=True)):
                continue
            changes += [
                (_on_one_line(old.text), "; ".join(_on_one_line(one.text) for one in new))
                for old, new in zip(before, after, strict=True)
                if new != [old]
            ]
            start, end = before[0].start, before[-1].end
            if len(block) > 1 or source.is_alone(block[0]):
                end = source.line_end(end)
                lines = [source.lines_of(*pair) for pair in zip(before, after, strict=True)]
                new_text = f"{source.newline}{source.indent(block[0])}".join(_sort(before, lines))
            else:
                new_text = "; ".join(one.text for one in after[0])
            pieces += [text[done:start], new_text]
            done = end
        return RewrittenFile("".join([*pieces, text[done:]]), changes)

    def _rewrite_statement(self, file: str, node: Import, source: "Source") -> list[Statement]:
        """Return the statements that replace one import at the file's new path."""
        old = source.statement(node)
        modules = {module_of(was): module_of(now) for was, now in self.moves.items()}
        if isinstance(node, ast.Import):
            return [_plain(node, old, source, modules)]
        parent = resolve(file, node.level, node.module or "")
        head = FROM.match(old.text)
        if not head or not parent or node.level > len(_folder(file)):
            return [old]
        place = self.moves.get(file, file)
        target = modules.get(parent, parent)
        # Keep the written form unless it would now name another module.
        written = head[1]
        if target != parent or (
            node.level and resolve(place, node.level, node.module or "") != parent
        ):
            written = relative(place, target) if node.level else target
        rest = [one for one in node.names if f"{parent}.{one.name}" not in modules]
        if len(rest) == len(node.names) or target != parent or "#" in old.text:
            start, end = head.span(1)
            moved = replace(old, text=old.text[:start] + written + old.text[end:])
            return [replace(moved, key=_key(written, node.names[0].name))]
        names: dict[str, list[tuple[str, str]]] = {}
        if rest:
            names[written] = [(one.name, one.asname or one.name) for one in rest]
        for one in node.names:
            if now := modules.get(f"{parent}.{one.name}"):
                folder, _, leaf = now.rpartition(".")
                module = relative(place, folder) if node.level else folder
                names.setdefault(module, []).append((leaf, one.asname or one.name))
        indent = source.indent(node)
        new = (one for module in names for one in _from(module, names[module], indent))
        return [replace(old, text=text, key=key) for key, text in sorted(new)]


class Source:
    """The text of a file, addressed by the line and column numbers of `ast`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.starts = [0]
        for line in text.split("\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)

    def place(self, line: int, column: int) -> int:
        """Return the character position of a column, which `ast` counts in UTF-8 bytes."""
        start = self.starts[line - 1]
        text = self.text[start : self.starts[line]].encode()
        return start + len(text[:column].decode())

    def statement(self, node: Import) -> Statement:
        """Return an import with its position."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self.place(node.lineno, node.col_offset)
        end = self.place(node.end_lineno, node.end_col_offset)
        text = self.text[start:end]
        if isinstance(node, ast.Import):
            return Statement(start, end, text, (False, 0, node.names[0].name.casefold(), (0, "")))
        key = _key("." * node.level + (node.module or ""), node.names[0].name)
        return Statement(start, end, text, key)

    def line_end(self, place: int) -> int:
        """Return the end of the line at a position, without the line break."""
        end = self.text.find("\n", place)
        end = len(self.text) if end < 0 else end
        return end - (self.text[end - 1 : end] == "\r")

    def indent(self, node: Import) -> str:
        """Return the text before a statement on its line."""
        start = self.place(node.lineno, node.col_offset)
        return self.text[self.starts[node.lineno - 1] : start]

    def is_alone(self, node: Import) -> bool:
        """Whether no other statement shares the lines of this one."""
        end = self.statement(node).end
        after = self.text[end : self.line_end(end)].strip()
        return not self.indent(node).strip() and (not after or after.startswith("#"))

    def lines_of(self, old: Statement, new: list[Statement]) -> list[Statement]:
        """Return statements as whole lines, with the comment that follows the old one."""
        comment = self.text[old.end : self.line_end(old.end)]
        return [*new[:-1], replace(new[-1], text=new[-1].text + comment)]


def _blocks(tree: ast.AST, source: Source) -> Iterator[list[Import]]:
    """Yield runs of imports on consecutive lines, in file order."""
    imports = [node for node in ast.walk(tree) if isinstance(node, Import)]
    block: list[Import] = []
    for node in sorted(imports, key=lambda node: (node.lineno, node.col_offset)):
        last = block[-1] if block else None
        follows = last and node.lineno == (last.end_lineno or 0) + 1
        is_same = last and source.indent(node) == source.indent(last)
        if last and follows and is_same and source.is_alone(node) and source.is_alone(last):
            block.append(node)
        else:
            if block:
                yield block
            block = [node]
    if block:
        yield block


def _sort(before: list[Statement], after: list[list[Statement]]) -> list[str]:
    """Sort rewritten statements if the originals were sorted.

    An original that was out of order stays behind its predecessor.
    """
    chain = _longest_chain([one.key for one in before])
    groups: list[list[Statement]] = [[]]
    for number, statements in enumerate(after):
        if number in chain:
            groups += [[one] for one in statements]
        else:
            groups[-1] += statements
    first, *rest = groups
    ordered = [first, *sorted(rest, key=lambda group: group[0].key)]
    return join_neighbours([one.text for group in ordered for one in group])


def join_neighbours(lines: list[str]) -> list[str]:
    """Join adjacent imports from the same module, as ruff does."""
    joined: list[str] = []
    for line in lines:
        last, this = SIMPLE.fullmatch(joined[-1] if joined else ""), SIMPLE.fullmatch(line)
        if last and this and last[1] == this[1]:
            names = {*last[2].split(", "), *this[2].split(", ")}
            both = this[1] + ", ".join(sorted(names, key=_member))
            if len(both) <= LINE_LENGTH:
                joined[-1] = both
                continue
        joined.append(line)
    return joined


def _longest_chain(keys: list[Key]) -> set[int]:
    """Return the indices of the longest sorted subsequence."""
    chains: list[list[int]] = []
    for number, key in enumerate(keys):
        fitting = [chain for chain in chains if keys[chain[-1]] <= key]
        chains.append([*max(fitting, key=len, default=[]), number])
    return {*max(chains, key=len, default=[])}


def _key(module: str, first: str) -> Key:
    """Return ruff's sort key: `import` first, then modules by distance, then by name."""
    name = module.lstrip(".")
    dots = len(module) - len(name)
    return True, -dots if dots else -LINE_LENGTH, name.casefold(), _member(first)


def _member(name: str) -> tuple[int, str]:
    """Return ruff's sort key of an imported name: constants, then classes, then others."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name.casefold()


def _plain(
    node: ast.Import, old: Statement, source: Source, modules: Mapping[str, str]
) -> Statement:
    """Rewrite `import a.b as c`. Without `as`, the code uses the module name, so it stays."""
    text = old.text
    for one in reversed(node.names):
        if one.asname and one.name in modules:
            start = source.place(one.lineno, one.col_offset) - old.start
            text = text[:start] + modules[one.name] + text[start + len(one.name) :]
    return replace(old, text=text)


def _from(module: str, names: list[tuple[str, str]], indent: str) -> list[tuple[Key, str]]:
    """Write an import from a module, and a separate one per alias, as ruff formats them."""
    plain = sorted((name for name, bound in names if name == bound), key=_member)
    lines = [
        (_key(module, name), f"from {module} import {name} as {bound}")
        for name, bound in names
        if name != bound
    ]
    if plain:
        line = f"from {module} import {', '.join(plain)}"
        if len(indent + line) > LINE_LENGTH:
            inner = "".join(f"{indent}    {name},\n" for name in plain)
            line = f"from {module} import (\n{inner}{indent})"
        lines.append((_key(module, plain[0]), line))
    return lines


def _on_one_line(text: str) -> str:
    words = " ".join(text.split())
    return re.sub(r",? \)", ")", words.replace("( ", "("))


def _folder(file: str) -> list[str]:
    return file.removeprefix("src/").split("/")[:-1]


def module_of(path: str) -> str:
    """Return the dotted name of a Python file; empty for other files."""
    if not path.endswith(".py"):
        return ""
    parts = path.removesuffix(".py").removeprefix("src/").removesuffix("/__init__")
    return parts.replace("/", ".")


def resolve(file: str, dots: int, module: str) -> str:
    """Return the absolute module that a relative import in a file refers to."""
    if not dots:
        return module
    folder = _folder(file)
    return ".".join([*folder[: len(folder) - dots + 1], *filter(None, [module])])


def relative(file: str, module: str) -> str:
    """Return a module name relative to a file, with leading dots."""
    folder, parts = _folder(file), module.split(".")
    shared = 0
    while shared < min(len(folder), len(parts)) and folder[shared] == parts[shared]:
        shared += 1
    return "." * (len(folder) - shared + 1) + ".".join(parts[shared:])
