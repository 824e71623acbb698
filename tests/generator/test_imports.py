"""Imports of moved modules are rewritten, in every form of import."""

import ast
import subprocess
import sys
import tarfile
from pathlib import Path

import copier
import pytest

from conftest import ROOT
from poc2prod.headers import merge_headers
from poc2prod.imports import Import, Imports, module_of, resolve
from poc2prod.moves import moved_paths, read_moves
from poc2prod.rewriting import SETTINGS

MOVES = {
    "src/pack/load.py": "src/pack/serving/client.py",
    "src/pack/serve.py": "src/pack/serving/app.py",
    "src/pack/train.py": "src/pack/pipeline/train.py",
    "src/pack/featurize.py": "src/pack/pipeline/featurize.py",
    "tests/test_serve.py": "tests/serving/test_app.py",
}
CLI, TRAIN, TESTS = "src/pack/cli.py", "src/pack/train.py", "tests/test_serve.py"
REWRITES = {
    "a module": (CLI, "from .serve import app", "from .serving.app import app"),
    "absolute": (CLI, "from pack.serve import app", "from pack.serving.app import app"),
    "a name": (CLI, "from . import load", "from .serving import client as load"),
    "a name that stays": (CLI, "from . import train", "from .pipeline import train"),
    "its own name": (CLI, "from . import load as l", "from .serving import client as l"),
    "names of both kinds": (
        CLI,
        "from . import cost, load, train",
        "from . import cost\nfrom .pipeline import train\nfrom .serving import client as load",
    ),
    "in a function": (
        CLI,
        "def f():\n    from . import cost, load  # late\n    return load",
        "def f():\n    from . import cost\n    from .serving import client as load  # late\n"
        "    return load",
    ),
    "after a semicolon": (
        CLI,
        "x = 1; from . import cost, load; y = 2",
        "x = 1; from . import cost; from .serving import client as load; y = 2",
    ),
    "in parentheses": (
        CLI,
        "from .serve import (  # all of it\n    app,\n    serve,\n)",
        "from .serving.app import (  # all of it\n    app,\n    serve,\n)",
    ),
    "names in parentheses": (
        CLI,
        "from . import (\n    cost,\n    train,\n)",
        "from . import cost\nfrom .pipeline import train",
    ),
    "names with comments stay": (
        CLI,
        "from . import (\n    cost,  # ours\n    train,\n)",
        "from . import (\n    cost,  # ours\n    train,\n)",
    ),
    "continued": (CLI, "from .serve \\\n  import app", "from .serving.app \\\n  import app"),
    "renamed": (CLI, "import pack.load as l, os", "import pack.serving.client as l, os"),
    "used by its path": (CLI, "import pack.load", "import pack.load"),
    "a folder's": (
        "src/pack/task/a.py",
        "from ..serve import app",
        "from ..serving.app import app",
    ),
    "another's": (CLI, "from other.serve import app", "from other.serve import app"),
    "a longer name": (CLI, "from .server import app", "from .server import app"),
    "from above the package": (CLI, "from ...serve import app", "from ...serve import app"),
    "dots of a moved file": (TRAIN, "from .ours import x", "from ..ours import x"),
    "the package": (TRAIN, "from . import cost", "from .. import cost"),
    "next to it again": (TRAIN, "from .featurize import x", "from .featurize import x"),
    "a test": (TESTS, "from pack import load", "from pack.serving import client as load"),
    "umlauts before it": (
        CLI,
        "ä = 'ü'; from .serve import ö",
        "ä = 'ü'; from .serving.app import ö",
    ),
    "in a string": (CLI, "x = 'from .serve import app'", "x = 'from .serve import app'"),
    "sorted again": (
        TRAIN,
        "from .artifacts import A\nfrom .featurize import f  # ours\nfrom .task.model import m",
        "from ..artifacts import A\nfrom ..task.model import m\nfrom .featurize import f  # ours",
    ),
    "what was not sorted stays behind its neighbour": (
        TRAIN,
        "from .artifacts import A\nfrom .featurize import f\nfrom .scope import s\n"
        "from .my_own import x",
        "from ..artifacts import A\nfrom ..scope import s\nfrom ..my_own import x\n"
        "from .featurize import f",
    ),
    "from one module": (
        CLI,
        "from .featurize import x\nfrom .pipeline import ours\nfrom . import train",
        "from .pipeline import ours, train\nfrom .pipeline.featurize import x",
    ),
}


@pytest.mark.parametrize(("file", "before", "after"), REWRITES.values(), ids=REWRITES)
def test_an_import_is_rewritten(file: str, before: str, after: str) -> None:
    for text, expected in ((before, after), (f"{before}\n", f"{after}\n")):
        rewritten = Imports(MOVES).rewrite(file, text)
        assert rewritten.text == expected
        assert bool(rewritten.changes) == (before != after)
    windows = Imports(MOVES).rewrite(file, f"{before}\n".replace("\n", "\r\n"))
    assert windows.text == f"{after}\n".replace("\n", "\r\n")


def test_rewritten_imports_are_listed() -> None:
    text = "from . import (\n    cost,\n    load,\n)\nfrom .scope import x\n"
    assert Imports(MOVES).rewrite(CLI, text).changes == [
        (
            "from . import (cost, load)",
            "from . import cost; from .serving import client as load",
        )
    ]


@pytest.mark.parametrize("text", ["from . import (\n", "x = 'a\n", "\0", "match x:\n"])
def test_rejects_text_that_is_not_python(text: str) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        Imports(MOVES).rewrite(CLI, text)


@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_a_whole_release_is_rewritten(release: str, tmp_path: Path) -> None:
    """Every import names an existing file, in the order of ruff."""
    files = {}
    for version in (release, "0.3.0"):
        with tarfile.open(ROOT / f"tests/updates/releases/{version}.tar.gz") as content:
            content.extractall(tmp_path / version, filter="data")
        render = tmp_path / f"render-{version}"
        copier.run_copy(
            str(tmp_path / version), render, {"target": "hybrid"}, defaults=True, quiet=True
        )
        names = [path.relative_to(render).as_posix() for path in render.rglob("*.py")]
        files[version] = {name: (render / name).read_text() for name in names}
    before, after = files.values()
    moves = moved_paths(read_moves(ROOT), before, after)
    assert len(moves) > 20
    now = {
        moves.get(name, name): Imports(moves).rewrite(name, text).text
        for name, text in before.items()
    }
    modules = {*map(module_of, now)}
    for name, text in now.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                module = resolve(name, node.level, node.module or "")
                names = {f"{module}.{one.name}" for one in node.names}
                is_ours = module.startswith("scratch_detector.") and ".task." not in module
                assert not is_ours or {module, *names} & modules, f"{name}: {ast.unparse(node)}"
    same = [
        name
        for name in moves.values()
        if name in now and _imports(now[name]) == _imports(after[name])
    ]
    assert {Path(name).stem for name in same} >= {"benchmark", "card", "featurize"}
    for name, text in now.items():
        (tmp_path / "now" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "now" / name).write_text(text)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=I", "--line-length=100"]
    subprocess.run(ruff, cwd=tmp_path / "now", check=True)


def _imports(text: str) -> list[str]:
    return [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, Import)]


# Imports at the top of a file, merged as a set

BASE = '''"""A module."""

import os
import time

import numpy as np

from .artifacts import A
from .refusal import Refusal
from .scope import load_scope

LIMIT = 1
'''
HEADERS = {
    "an added import": (
        [("from .refusal", "from .my_own import x  # ours\nfrom .refusal")],
        [("from .refusal", "from .gates import g\nfrom .refusal")],
        "from .artifacts import A\nfrom .gates import g\nfrom .my_own import x  # ours\n"
        "from .refusal import Refusal\n",
    ),
    "one next to an import that the template drops": (
        [("import numpy as np\n", "import numpy as np\nimport pandas\n")],
        [("import numpy as np\n", "import onnx\n")],
        "import onnx\nimport pandas\n",
    ),
    "one that the user drops": (
        [("import time\n", "")],
        [("import time\n", "import sys\nimport time\n")],
        "import os\nimport sys\n\nimport numpy",
    ),
    "another name of the same module": (
        [("import load_scope\n", "import load_params, load_scope\n")],
        [("import load_scope\n", "import load_scope, read_yaml\n")],
        "from .scope import load_params, load_scope, read_yaml\n",
    ),
    "a name that the template has stopped using": (
        [("import load_scope\n", "import load_params, load_scope\n")],
        [("import load_scope\n", "import read_yaml\n")],
        "from .scope import load_params, read_yaml\n",
    ),
    "a name that only the user's lines still use": (
        [("import load_scope\n", "import load_params, load_scope\n"), ("= 1", "= load_scope()")],
        [("import load_scope\n", "import read_yaml\n")],
        "from .scope import load_params, load_scope, read_yaml\n",
    ),
    "a section that the template does not have": (
        [("import numpy as np\n\n", "import numpy as np\nimport pandas\n\n")],
        [("import numpy as np\n\n", "")],
        "import time\n\nfrom .artifacts import A\n",
    ),
    "a comment above": (
        [("import time\n", "# for the clock\nimport uuid\nimport time\n")],
        [("import os\n", "import json\nimport os\n")],
        "import json\nimport os\nimport time\n# for the clock\nimport uuid\n",
    ),
    "a name that the user's lines use": (
        [("LIMIT = 1", "LIMIT = np.array(1)")],
        [("import numpy as np\n", "import numpy\n")],
        "import numpy\nimport numpy as np\n",
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), HEADERS.values(), ids=HEADERS)
def test_imports_are_merged_as_a_set(
    ours: list[tuple[str, str]], theirs: list[tuple[str, str]], expected: str
) -> None:
    texts = [BASE, BASE, BASE]
    for number, edits in ((1, ours), (2, theirs)):
        for old, new in edits:
            assert old in texts[number]
            texts[number] = texts[number].replace(old, new)
    merged = merge_headers(*texts)
    assert merged
    base, mine = merged
    assert base == texts[2].replace(texts[2].partition("LIMIT")[2], BASE.partition("LIMIT")[2])
    assert expected in mine
    assert mine.partition("LIMIT")[2] == texts[1].partition("LIMIT")[2]
    ast.parse(mine)


@pytest.mark.parametrize(
    "texts",
    [("x = (", BASE, BASE), (BASE, "x = 1\n", BASE), (BASE, BASE.replace("\n", "\r\n"), BASE)],
)
def test_imports_that_cannot_be_compared_are_merged_by_git(texts: tuple[str, str, str]) -> None:
    assert merge_headers(*texts) is None


def test_every_settings_file_exists_in_a_render() -> None:
    for name in SETTINGS:
        assert list((ROOT / "template").glob(f"{name}*"))
