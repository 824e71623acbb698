"""Rewrite the code lines of `template/dvc.yaml.jinja` from the imports of every kind of render.

Run it by `make deps` after an import in the template changed: tests/renders/pipeline/test_dvc.py
fails until then.
"""

import re
import sys
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby, product
from pathlib import Path
from types import ModuleType

import copier

from environment import ROOT, release

TEMPLATE = ROOT / "template" / "dvc.yaml.jinja"
PACKAGE = ROOT / "template" / "src" / "{{= package_name }}"
MODALITIES = ("image", "audio", "tabular")
TARGETS = ("cloud", "edge", "hybrid")
CONDITIONS = {  # Jinja's words, in the order of preference
    "server": lambda modality, target: target != "edge",
    "device": lambda modality, target: target != "cloud",
    "server and device": lambda modality, target: target == "hybrid",
    **{name: (lambda modality, target, name=name: modality == name) for name in MODALITIES},
}
# A condition around nothing but code lines; what else `# ?` says is written by hand.
WRAPPED = re.compile(r"^ +# \? if .+\n((?: +- \$\{src\}.*\n)+) +# \? endif\n", re.MULTILINE)
Needed = dict[str, dict[str, set[tuple[str, str]]]]


def read_deps() -> ModuleType:
    """Import the module of the render that derives dependencies: it holds no Jinja."""
    spec = spec_from_file_location("deps", PACKAGE / "pipeline" / "deps.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def derive_all(folder: Path) -> Needed:
    """Return, for each stage and file, the renders in which the stage needs it."""
    source = release(folder / "source")
    deps, needed = read_deps(), Needed()
    for modality, target in product(MODALITIES, TARGETS):
        render = folder / f"{modality}-{target}"
        answers = {"modality": modality, "target": target, "uplink": "mqtt"}
        answers |= {"export_formats": "executorch, litert, coreml, openvino"}
        copier.run_copy(str(source), render, data=answers, defaults=True, quiet=True)
        package = deps.Package(next((render / "src").iterdir()))
        stages = deps.derive((render / "dvc.yaml").read_text(), package)
        for stage, path in ((stage, path) for stage, paths in stages.items() for path in paths):
            needed.setdefault(stage, {}).setdefault(path, set()).add((modality, target))
    return needed


def rewrite(text: str, needed: Needed) -> str:
    """Return the template's text with other code lines, each below its condition."""
    bare = WRAPPED.sub(r"\1", text)
    deps = read_deps()
    ordered = {stage: sorted(paths, key=deps.order) for stage, paths in needed.items()}
    lines = deps.rewrite(bare, ordered).splitlines(keepends=True)
    stage, written = "", list[str]()

    def condition_of(line: str) -> str:
        nonlocal stage
        if named := re.match(r"  ([\w-]+):", line):
            stage = named[1]
        code = re.fullmatch(r" +- \$\{src\}/(\S+)\n", line)
        return _condition(needed[stage][code[1]]) if code and stage in needed else ""

    for condition, group in groupby(lines, condition_of):
        block = list(group)
        indent = " " * (len(block[0]) - len(block[0].lstrip()))
        end = [f"{indent}# ? endif\n"] if condition else []
        written += [f"{indent}# ? if {condition}\n"] * bool(condition) + block + end
    return "".join(written)


def _condition(renders: set[tuple[str, str]]) -> str:
    everywhere = set(product(MODALITIES, TARGETS))
    if renders == everywhere:
        return ""
    for words, holds in CONDITIONS.items():
        if renders == {render for render in everywhere if holds(*render)}:
            return words
    raise SystemExit(f"no condition of dvc.yaml.jinja holds in just {sorted(renders)}: add one")


def main() -> None:
    text = TEMPLATE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        changed = rewrite(text, derive_all(Path(folder)))
    TEMPLATE.write_text(changed)
    print(f"{TEMPLATE.relative_to(ROOT)}: {'unchanged' if changed == text else 'rewritten'}")


if __name__ == "__main__":
    sys.exit(main())
