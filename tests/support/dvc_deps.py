"""Write `includes/dvc_deps.yml`, the code dependencies of each stage, from imports in renders.

Run `make deps` after changing an import in the template; until then,
`tests/renders/pipeline/test_dvc.py` fails.
"""

import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations, groupby, product
from pathlib import Path
from types import ModuleType

from environment import ROOT, release
from rendering import cache_compiled_templates, render_to

LISTS = ROOT / "includes" / "dvc_deps.yml"
PACKAGE = ROOT / "template" / "src" / "{{= package_name }}"
HEADER = """\
# The code that each stage of template/dvc.yaml.jinja depends on. `make deps` writes this file from
# the imports; do not edit it.
"""
MODALITIES = ("image", "audio", "tabular")
TARGETS = ("cloud", "edge", "hybrid")
PROBLEMS = ("classification", "multilabel", "regression", "forecast")
FRAMEWORKS = ("pytorch", "lightning", "keras", "trees", "onnx")
FORMATS = {"onnx": "openvino", "keras": "openvino", "trees": ""}
GROUPS = {  # derived in copier.yml
    "torch": {"pytorch", "lightning"},
    "network": {"pytorch", "lightning", "keras"},
    "imported": {"keras", "onnx"},
    "converted": {"keras", "onnx", "trees"},
}
Kind = tuple[str, str, str, str]
KINDS: list[Kind] = [
    kind
    for kind in product(MODALITIES, TARGETS, PROBLEMS, FRAMEWORKS)
    if kind[2:] not in (("multilabel", "trees"), ("forecast", "trees"))
    and (kind[0] == "tabular" or "trees" not in kind and "forecast" not in kind)
    # Another framework changes the same files for sounds as for images.
    and (kind[3] == "pytorch" or not {"audio", "hybrid"} & set(kind))
]
CONDITIONS: dict[str, set[Kind]] = {  # Jinja conditions, and the renders where they are true
    "server": {kind for kind in KINDS if kind[1] != "edge"},
    "device": {kind for kind in KINDS if kind[1] != "cloud"},
    "server and device": {kind for kind in KINDS if kind[1] == "hybrid"},
    **{name: {kind for kind in KINDS if kind[0] == name} for name in MODALITIES},
    **{name: {kind for kind in KINDS if kind[2] == name} for name in PROBLEMS},
    **{name: {kind for kind in KINDS if kind[3] == name} for name in FRAMEWORKS},
    **{f"not {name}": {kind for kind in KINDS if kind[3] != name} for name in FRAMEWORKS},
    "not regression": {kind for kind in KINDS if kind[2] != "regression"},
    "numeric": {kind for kind in KINDS if kind[2] in ("regression", "forecast")},
    "not numeric": {kind for kind in KINDS if kind[2] in ("classification", "multilabel")},
    "trees or regression": {
        kind for kind in KINDS if kind[3] == "trees" or kind[2] == "regression"
    },
    **{name: {kind for kind in KINDS if kind[3] in group} for name, group in GROUPS.items()},
    "tabular and not forecast": {
        kind for kind in KINDS if kind[0] == "tabular" and kind[2] != "forecast"
    },
    "image or audio": {kind for kind in KINDS if kind[0] != "tabular"},
}
CONDITIONS |= {
    f"{one} and {other}": CONDITIONS[one] & CONDITIONS[other]
    for one, other in combinations(CONDITIONS, 2)
    if not {one, other} & {"image or audio", "tabular and not forecast"}
}


def read_deps() -> ModuleType:
    """Import the module of the template that derives dependencies; it contains no Jinja."""
    spec = spec_from_file_location("deps", PACKAGE / "pipeline" / "deps.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def derive_all(folder: Path, deps: ModuleType) -> dict[str, dict[str, set[Kind]]]:
    """Return, by stage and file, the kinds of renders in which the stage needs the file."""
    source = release(folder / "source")
    needed: dict[str, dict[str, set[Kind]]] = {}
    for kind in KINDS:
        answers = dict(zip(("modality", "target", "problem", "framework"), kind, strict=True))
        formats = FORMATS.get(kind[3], "executorch, litert, coreml, openvino")
        render = folder / "-".join(kind)
        render_to(render, source, answers | {"uplink": "mqtt", "export_formats": formats})
        package = deps.Package(next((render / "src").iterdir()))
        for stage, paths in deps.derive((render / "dvc.yaml").read_text(), package).items():
            for path in paths:
                needed.setdefault(stage, {}).setdefault(path, set()).add(kind)
    return needed


def write_lists(needed: dict[str, dict[str, set[Kind]]], deps: ModuleType) -> str:
    """Return the lists as YAML, with Jinja conditions around files that only some renders need."""
    lines = [HEADER]
    for stage, paths in needed.items():
        having = set().union(*paths.values())  # the kinds of renders that have the stage
        lines.append(f"{stage}:\n")
        for kinds, group in groupby(sorted(paths, key=deps.sort_key), paths.__getitem__):
            block = [f"  - {path}\n" for path in group]
            if kinds != having:
                block = [f"  # ? if {_condition(kinds, having)}\n", *block, "  # ? endif\n"]
            lines += block
    return "".join(lines)


def _condition(kinds: set[Kind], having: set[Kind]) -> str:
    for words, where in CONDITIONS.items():
        if kinds == where & having:
            return words
    for (one, first), (other, second) in combinations(CONDITIONS.items(), 2):
        if kinds == first & second & having and " or " not in f"{one} {other}":
            return f"{one} and {other}"
    raise SystemExit(f"CONDITIONS has no entry for exactly {sorted(kinds)}: add one")


def main() -> None:
    deps = read_deps()
    before = LISTS.read_text() if LISTS.exists() else ""
    with tempfile.TemporaryDirectory() as folder, cache_compiled_templates():
        after = write_lists(derive_all(Path(folder), deps), deps)
    LISTS.write_text(after)
    print(f"{LISTS.relative_to(ROOT)}: {'unchanged' if after == before else 'rewritten'}")


if __name__ == "__main__":
    main()
