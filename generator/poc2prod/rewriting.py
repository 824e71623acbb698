"""Replace the names of moved files in a tree of files: in imports and in settings.

The old version and the project are rewritten alike, so git only merges changes of the user and of
the template.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .comments import merge_comments
from .git import Files, Repository
from .headers import merge_headers
from .imports import Imports, RewrittenFile

PYTHON = re.compile(r"(?:src|tests)/.*\.py")
YAML = re.compile(r"[\w.-]+\.ya?ml")  # in the folder of the project: what its users set
# Other files in which paths are settings.
SETTINGS = ("Makefile", "dvc.yaml", "pyproject.toml")
REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Rewriting:
    """Rewrites files of both trees, by their old paths; skips files that the user owns."""

    git: Repository
    moves: Mapping[str, str]
    is_owned: Callable[[str], bool]
    results: dict[tuple[str, str], RewrittenFile | None] = field(default_factory=dict)

    def rewrite(self, files: Files) -> Files:
        """Return the files, with new contents where they name moved files."""
        if not self.moves:
            return files
        chosen = {name: about for name, about in files.items() if self._applies(name, about)}
        missing = {(n, about) for n, about in chosen.items() if (n, about) not in self.results}
        contents = self.git.read_blobs({about.split()[1] for _, about in missing})
        for name, about in missing:
            self.results[name, about] = self._rewrite_file(name, contents[about.split()[1]])
        return self._store(
            files,
            {
                name: result.text
                for name, about in chosen.items()
                if (result := self.results[name, about]) and result.changes
            },
        )

    def merge_lines(self, base: Files, ours: Files, theirs: Files) -> tuple[Files, Files]:
        """Return the first two with the imports and comments of the third, where all three differ.

        The user's changes to imports of Python and to comments of settings are kept. All names are
        those after the moves.
        """
        names = [
            name
            for name, about in ours.items()
            if name in base and about != base[name] != theirs.get(name) and name in theirs
            if PYTHON.fullmatch(name) or YAML.fullmatch(name)
            if about.startswith(REGULAR) and not self.is_owned(name)
        ]
        trees = (base, ours, theirs)
        contents = self.git.read_blobs({tree[n].split()[1] for tree in trees for n in names})
        new_base, new_ours = {}, {}
        for name in names:
            try:
                texts = [contents[tree[name].split()[1]].decode() for tree in trees]
            except UnicodeDecodeError:
                continue
            merge = merge_headers if PYTHON.fullmatch(name) else merge_comments
            if merged := merge(*texts):
                new_base[name], new_ours[name] = merged
        return self._store(base, new_base), self._store(ours, new_ours)

    def _store(self, files: Files, texts: Mapping[str, str]) -> Files:
        """Return the files with new texts and unchanged modes."""
        blobs = self.git.store_blobs(
            [text.encode("utf-8", "surrogateescape") for text in texts.values()]
        )
        modes = (files[name].split()[0] for name in texts)
        new = (f"{mode} {blob}" for mode, blob in zip(modes, blobs, strict=True))
        return files | dict(zip(texts, new, strict=True))

    def changes(self, base: Files, ours: Files) -> dict[str, list[tuple[str, str]]]:
        """Return the rewritten lines of the user, by file; call `rewrite` for both trees first."""
        theirs = {name: self._changes_of(name, about) for name, about in base.items()}
        mine = {name: self._changes_of(name, about) for name, about in ours.items()}
        own = {
            name: [one for one in rows if one not in theirs.get(name, [])]
            for name, rows in mine.items()
        }
        return {name: rows for name, rows in own.items() if rows}

    def readable(self, files: Files) -> list[str]:
        """List the files that could be parsed, rewritten or not."""
        return [name for name, about in files.items() if self.results.get((name, about))]

    def unreadable(self, files: Files) -> list[str]:
        """List the Python files that could not be parsed, and so were not rewritten."""
        return [
            name for name, about in files.items() if self.results.get((name, about), ()) is None
        ]

    def _changes_of(self, name: str, about: str) -> list[tuple[str, str]]:
        result = self.results.get((name, about))
        return result.changes if result else []

    def _applies(self, name: str, about: str) -> bool:
        is_named = PYTHON.fullmatch(name) or name in SETTINGS
        return bool(is_named) and about.startswith(REGULAR) and not self.is_owned(name)

    def _rewrite_file(self, name: str, content: bytes) -> RewrittenFile | None:
        if name in SETTINGS:
            return self._rewrite_settings(content.decode("utf-8", "surrogateescape"))
        try:
            return Imports(self.moves).rewrite(name, content.decode("utf-8"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    def _rewrite_settings(self, text: str) -> RewrittenFile:
        """Replace paths like `src/pack/serve.py` and `${src}/serve.py`."""
        tokens = dict(self.moves)
        for was, now in self.moves.items():
            package = "".join(re.findall(r"^src/[^/]+/", was))
            if package and now.startswith(package):
                tokens["${src}/" + was.removeprefix(package)] = "${src}/" + now.removeprefix(
                    package
                )
        any_token = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
        pattern = re.compile(rf"(?<![\w./-])(?:{any_token})(?![\w/-])")
        changes = []
        lines = text.split("\n")
        for number, line in enumerate(lines):
            lines[number] = pattern.sub(lambda match: tokens[match[0]], line)
            if lines[number] != line:
                changes.append((line.strip(), lines[number].strip()))
        return RewrittenFile("\n".join(lines), changes)
