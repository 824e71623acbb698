"""Write the code dependencies of each stage into `dvc.yaml`, derived from its imports.

DVC re-runs a stage if a file in its `deps` changes. A missing line would let an old report pass as
new. `cli.py` is not listed: it only finds the module of a stage.
"""

import ast
import re
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DVC_YAML = Path("dvc.yaml")
# Files in these folders are listed one by one, other folders as a whole: production runs all their
# code, and 20 lines per folder would hide the rest of the stage.
BY_FILE = {"pipeline", "monitoring", "problem", "task"}
SAMPLE = "task.sample_"  # modules with this prefix are read for the sample data only
GIVEN = "model.onnx"  # with its weights, like `model.onnx.data`: read only through `task/given.py`
# Group 1: path in the package; group 2: comment, which protects lines written by hand.
CODE_LINE = re.compile(r'\s*- "?\$\{src\}(?:/(.*?))?"?(\s+#.*)?')
STAGE_LINE = re.compile(r"  ([\w-]+):.*")
DEPS_LINE = re.compile(r"\s+deps:\s*(#.*)?")


class Stage(NamedTuple):
    """Command and dependencies of a stage in `dvc.yaml`."""

    cmd: str
    deps: set[str]


class Package:
    """The source of a package: its modules by dotted name, and their imports."""

    def __init__(self, folder: Path, source: str = "sample") -> None:
        """Read the names of the modules; `source` is that of the data, in `schema.yaml`."""
        self.folder = folder
        self.name = folder.name
        paths = {path.relative_to(folder.parent): path for path in sorted(folder.rglob("*.py"))}
        self.modules = {_module_name(short): path for short, path in paths.items()}
        if source != "sample":
            made_up = f"{self.name}.{SAMPLE}"
            self.modules = {n: p for n, p in self.modules.items() if not n.startswith(made_up)}
        self._trees: dict[str, ast.Module] = {}
        self._known: dict[str, set[str]] = {}  # references of modules that were parsed
        self._texts: dict[str, set[str]] = {}

    @cached_property
    def commands(self) -> dict[str, str]:
        """Map commands to modules. Files are parsed: imports of `cli.py` would be circular."""
        found: dict[str, str] = {}
        lists = [name for name in self.modules if name.endswith(".commands")]
        for node in [n for name in (f"{self.name}.cli", *lists) for n in self._tree(name).body]:
            match node:
                case ast.Assign(targets=[ast.Name(id="COMMANDS")], value=ast.Dict(keys, values)):
                    rows = zip(keys, values, strict=True)
                    found |= {_name(k): f"{self.name}.{_name(v)}" for k, v in rows if k}
        return found

    def files_of(self, module: str) -> list[str]:
        """Return the dependencies of a stage that runs this module, relative to the package.

        Raises:
            SystemExit: a file cannot be parsed.
        """
        loaded = self._trace(module)
        paths = {self.modules[name] for name in loaded if not self._is_docstring(name)}
        paths |= self._data_files(loaded)
        return sorted(
            {self._shorten(path.relative_to(self.folder)) for path in paths}, key=sort_key
        )

    def _trace(self, module: str) -> set[str]:
        loaded: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in self.modules and name not in loaded:
                loaded.add(name)
                if name not in self._known:
                    self._known[name] = self._references(name)
                    self._texts[name] = _strings(self._tree(name))
                waiting += [name.rpartition(".")[0], *self._known[name]]
        return loaded

    def _references(self, name: str) -> set[str]:
        """Return names that a module imports or may import; not all of them are modules."""
        is_package = self.modules[name].stem == "__init__"
        package = name if is_package else name.rpartition(".")[0]
        references: set[str] = set()
        for node in ast.walk(self._tree(name)):
            match node:
                case ast.Import():
                    references |= {alias.name for alias in node.names}
                case ast.ImportFrom():
                    base = resolve_name("." * node.level + (node.module or ""), package)
                    references |= {base} | {f"{base}.{alias.name}" for alias in node.names}
                case ast.Call(
                    func=ast.Name(id="import_module") | ast.Attribute(attr="import_module")
                ):
                    references |= self._resolve_computed(node, name, package)
                case ast.List() if "-m" in (words := _strings(node)):  # a process: python -m ...
                    references |= {self.commands[word] for word in words if word in self.commands}
        return references

    def _resolve_computed(self, call: ast.Call, name: str, package: str) -> set[str]:
        """Return the modules that a call of `import_module` may load.

        A computed name can be each dotted name in the module; without any, each module in the same
        package.
        """
        match call.args:
            case [ast.Constant(value=str(target)), *_]:
                return {resolve_name(target, package)}
        written = {f"{self.name}.{text}" for text in _strings(self._tree(name)) if "." in text}
        siblings = {other for other in self.modules if other.startswith(f"{package}.")}
        return written & self.modules.keys() or siblings

    def _data_files(self, loaded: set[str]) -> set[Path]:
        """Return other files: all in `task/`, and those that modules in the same folder name.

        How your code opens files is unknown: each file in `task/` is a dependency of every stage
        that imports `task/`.
        """
        task = self.folder / "task"
        uses_task = any(name.startswith(f"{self.name}.task.") for name in loaded)
        given = f"{self.name}.task.given"
        is_unread = given in self.modules and given not in loaded
        named = {self.modules[name].parent / text for name in loaded for text in self._texts[name]}
        data: set[Path] = set()
        for path in self.folder.rglob("*"):
            hidden = any(part[0] in "._" for part in path.relative_to(self.folder).parts)
            if path.is_dir() or path.suffix == ".py" or hidden:
                continue
            if is_unread and path.parent == task and path.name.startswith(GIVEN):
                continue
            if uses_task and path.is_relative_to(task):
                tracked = path.with_suffix("") if path.suffix == ".dvc" else path  # by `dvc add`
                data.add(_data_folder(tracked, task) or tracked)
            elif path in named:
                data.add(path)
        return data

    def _shorten(self, path: Path) -> str:
        folder = path.parts[0]
        return path.as_posix() if len(path.parts) == 1 or folder in BY_FILE else folder

    def _is_docstring(self, name: str) -> bool:
        """Whether a file is only a docstring, like most `__init__.py`: its edits change nothing."""
        return all(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            for node in self._tree(name).body
        )

    def _tree(self, name: str) -> ast.Module:
        if name not in self._trees:
            path = self.modules[name]
            try:
                self._trees[name] = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError) as error:
                raise SystemExit(f"{path}: {error}") from None
        return self._trees[name]


def sort_key(path: str) -> tuple[bool, str]:
    """Sort single modules before files in folders, and folders."""
    return ("/" in path or "." not in path, path)


def deps() -> None:
    """Rewrite the code dependencies in `dvc.yaml`, and print the changes.

    Raises:
        SystemExit: a file cannot be parsed, or a stage has no list to write to.
    """
    text = DVC_YAML.read_text(encoding="utf-8")
    from ..schema import load_schema  # this module also runs outside of the package

    needed = derive(text, Package(Path(__file__).parent.parent, load_schema().source))
    changed = rewrite(text, needed)
    if changed == text:
        print(f"{DVC_YAML} is up to date.")
        return
    DVC_YAML.write_text(changed, encoding="utf-8")
    print(*compare(text, changed), sep="\n")


def derive(text: str, package: Package) -> dict[str, list[str]]:
    """Return the code dependencies of each stage that runs a module of this package."""
    needed = {}
    for stage, content in _stages(text).items():
        called = re.search(r"\$\{run\}(?:\.([\w.]+)|\s+([\w-]+))", content.cmd)
        if called is None:
            continue  # your own stage, which runs something else
        module = f"{package.name}.{called[1]}" if called[1] else package.commands.get(called[2])
        if module in package.modules:
            needed[stage] = package.files_of(module)
    return needed


def rewrite(text: str, needed: dict[str, list[str]]) -> str:
    """Return the text with new code dependencies; comments and all other lines stay.

    Raises:
        SystemExit: the `deps` of a stage are not one per line.
    """
    written: list[str] = []
    stage, missing = "", dict(needed)
    lines = text.splitlines(keepends=True)
    while lines:
        line = lines.pop(0)
        written.append(line)
        if named := STAGE_LINE.fullmatch(line.rstrip()):
            stage = named[1]
        elif DEPS_LINE.fullmatch(line.rstrip()) and stage in missing:
            indent = _indent(line)
            items = []
            while lines and (
                _indent(lines[0]) > indent or lines[0].startswith(" " * indent + "- ")
            ):
                items.append(lines.pop(0))
            written += _rewrite_list(items, missing.pop(stage), " " * (indent + 2))
    if missing:
        stages = ", ".join(missing)
        raise SystemExit(f"{DVC_YAML}: write the `deps` of {stages} one per line, below `deps:`.")
    return "".join(written)


def compare(text: str, changed: str) -> list[str]:
    """Describe each dependency that only one of the two texts has."""
    lines = []
    before = _stages(text)
    for stage, (_, has) in _stages(changed).items():
        had = before[stage].deps
        lines += [f"{DVC_YAML}: {stage} now depends on {path}" for path in sorted(has - had)]
        lines += [f"{DVC_YAML}: {stage} no longer depends on {path}" for path in sorted(had - has)]
    return lines or [f"{DVC_YAML}: only the order changed"]


def _rewrite_list(items: list[str], needed: list[str], indent: str) -> list[str]:
    kept, by_hand = [], set()
    for item in items:
        code = CODE_LINE.fullmatch(item.rstrip())
        if code is None or code[2]:
            kept.append(item)
            by_hand |= {code[1]} if code else set()
    if items:
        indent = " " * _indent(items[0])
    return kept + [f"{indent}- ${{src}}/{path}\n" for path in needed if path not in by_hand]


def _stages(text: str) -> dict[str, Stage]:
    try:
        stages: dict[str, Any] = yaml.safe_load(text)["stages"]
        templates = {name: stage.get("do", stage) for name, stage in stages.items()}
        return {n: Stage(str(t["cmd"]), set(t.get("deps", []))) for n, t in templates.items()}
    except (yaml.YAMLError, AttributeError, TypeError, LookupError) as error:
        wrong = f"{DVC_YAML} cannot be read ({str(error).splitlines()[0]})"
        raise SystemExit(f"{wrong}. After a merge: keep either side, then `make deps`.") from None


def _module_name(path: Path) -> str:
    return ".".join(path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts)


def _strings(tree: ast.AST) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _name(tree: ast.AST) -> str:
    """Return the first constant: the text of a key, or the first argument of a call."""
    return str(next(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)))


def _data_folder(path: Path, task: Path) -> Path | None:
    """Return the outermost folder around a file that contains no Python, to list it as a whole."""
    parents = [parent for parent in reversed(path.parents) if parent.is_relative_to(task)]
    return next((folder for folder in parents if not any(folder.rglob("*.py"))), None)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else -1
