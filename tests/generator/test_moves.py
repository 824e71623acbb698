"""Moves listed in hooks/moves.yml: edits of the user follow the moved files."""

from pathlib import Path
from typing import Any

import pytest

from poc2prod.moves import MOVES, Mentions, moved_paths, read_moves
from poc2prod.refusal import Refusal
from repository import commit_files, git, write_files
from small_template import (
    CODE,
    MORE,
    Files,
    by_both,
    by_user,
    release_template,
    render_project,
    run,
    state,
)

OLD, NEW = "src/{{ package }}/serve.py", "src/{{ package }}/serving/app.py"
WAS, NOW = "src/pack/serve.py", "src/pack/serving/app.py"
MOVED = "1.1.0:\n  src/*/serve.py: src/*/serving/app.py\n"
# Similar in 3 of 20 lines only, the first and the last: git does not detect the move.
REWRITTEN = "".join(
    f"line {number} of the code\n" if number in (1, 2, 20) else f"{number} is written again\n"
    for number in range(1, 21)
)
ALIAS = "from pack.serving.app import *\n"


def release_moves(template: Path, files: Files, tag: str, moves: str = MOVED) -> None:
    (template / "hooks").mkdir(exist_ok=True)
    (template / MOVES).write_text(moves)
    release_template(template, files, tag)


def start(folder: Path, first: Files, **answers: Any) -> tuple[Path, Path]:
    template = release_template(folder / "source", first, "v1.0.0")
    return template, render_project(template, folder / "mine", **answers)


def contents(project: Path, *names: str) -> dict[str, str]:
    return {name: (project / name).read_text() for name in names}


def updated(project: Path, **options: Any) -> str:
    status, words = run(project, merge=True, **options)
    assert status == 0, words
    return words


def test_an_edit_follows_a_move_that_git_does_not_detect(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE, "other.py": MORE})
    commit_files(project, {WAS: by_user(1)})
    release_moves(template, {OLD: None, NEW: REWRITTEN}, "v1.1.0")
    words = updated(project)
    lines = (project / NOW).read_text().splitlines()
    assert lines == ["line 1 by the user", *REWRITTEN.splitlines()[1:]]
    assert not (project / WAS).exists()
    assert f"with your edits:\n  {WAS} -> {NOW}\n" in words
    assert git(project, "status", "--porcelain") == ""


def test_an_edit_follows_a_move_that_leaves_an_alias(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    commit_files(project, {WAS: by_user(9)})
    release_moves(template, {OLD: ALIAS, NEW: CODE}, "v1.1.0")
    updated(project)
    assert contents(project, WAS, NOW) == {WAS: ALIAS, NOW: by_user(9)}
    # The alias also stays unchanged in the next update.
    release_moves(template, {NEW: CODE.replace("line 5 of", "line 5 by the template in")}, "v1.2.0")
    updated(project)
    both = by_user(9).replace("line 5 of", "line 5 by the template in")
    assert contents(project, WAS, NOW) == {WAS: ALIAS, NOW: both}


def test_changes_of_both_sides_conflict_at_the_new_path(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    commit_files(project, {WAS: by_user(5)})
    release_moves(template, {OLD: ALIAS, NEW: REWRITTEN}, "v1.1.0")
    before = state(project)
    status, words = run(project)
    assert (status, f"  {NOW}: changed by both\n" in words) == (1, True)
    assert state(project) == before
    place = tmp_path / "mine-template-v1.1.0"
    assert "line 5 by the user" in (place / NOW).read_text()
    assert (place / WAS).read_text() == ALIAS


def test_moves_of_several_releases_are_combined(tmp_path: Path) -> None:
    last = "src/{{ package }}/http/app.py"
    template, project = start(tmp_path, {OLD: CODE})
    commit_files(project, {WAS: by_user(1)})
    release_moves(template, {OLD: ALIAS, NEW: CODE}, "v1.1.0")
    both = MOVED + "1.10.0: {src/*/serving/app.py: src/*/http/app.py}\n"
    release_moves(template, {OLD: None, NEW: None, last: REWRITTEN}, "v1.10.0", both)
    words = updated(project)
    text = (project / "src/pack/http/app.py").read_text()
    assert text == REWRITTEN.replace("line 1 of the code", "line 1 by the user")
    assert not (project / WAS).exists() and not (project / NOW).exists()
    assert f"{WAS} -> src/pack/http/app.py\n" in words


def test_a_file_moved_by_the_user_stays_there(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE, "other.py": MORE})
    commit_files(project, {WAS: None, "src/pack/ours.py": by_user(9)})
    edited = by_both(5, 20).replace("line 20 by the user", "line 20 of the code")
    release_moves(template, {OLD: ALIAS, NEW: edited}, "v1.1.0")
    words = updated(project)
    assert (project / "src/pack/ours.py").read_text() == by_both(5, 9)
    assert not (project / WAS).exists() and not (project / NOW).exists()
    assert f"updated at their new paths:\n  {WAS} -> src/pack/ours.py\n" in words


def test_a_file_that_the_user_moved_to_the_new_path_is_merged_there(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    commit_files(project, {WAS: None, NOW: by_user(1)})
    release_moves(template, {OLD: ALIAS, NEW: REWRITTEN}, "v1.1.0")
    updated(project)
    assert (project / NOW).read_text().splitlines()[:3] == [
        "line 1 by the user",
        "line 2 of the code",
        "3 is written again",
    ]


def test_a_file_deleted_by_the_user_stays_deleted_and_is_listed(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE, "other.py": MORE})
    commit_files(project, {WAS: None})
    release_moves(template, {OLD: ALIAS, NEW: CODE}, "v1.1.0")
    words = updated(project)
    assert not (project / WAS).exists() and not (project / NOW).exists()
    assert f"not restored though the template changed them:\n  {NOW}\n" in words


@pytest.mark.parametrize("is_checked_out", [True, False], ids=["", "not checked out"])
@pytest.mark.parametrize("taken", [NOW, "src/pack/serving"], ids=["a file", "a folder"])
def test_files_of_the_user_at_the_new_path_are_kept(
    taken: str, is_checked_out: bool, tmp_path: Path
) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    commit_files(project, {WAS: by_user(9), taken: "mine\n"})
    if not is_checked_out:
        git(project, "update-index", "--skip-worktree", taken)
        write_files(project, {taken: None})
    release_moves(template, {OLD: None, NEW: CODE}, "v1.1.0")
    before = state(project)
    assert run(project)[0] == 1
    assert state(project) == before
    place = tmp_path / "mine-template-v1.1.0"
    text = "".join(path.read_text() for path in place.rglob("*") if path.is_file())
    assert "mine\n" in text and "line 9 by the user\n" in text


def test_an_owned_file_moves_with_its_edits(tmp_path: Path) -> None:
    first: Files = {"{{ package }}/task/data.py": CODE, "README.md": "Read me.\n"}
    template, project = start(tmp_path, first)
    commit_files(project, {"pack/task/data.py": MORE})
    moves = "1.1.0:\n  pack/task/data.py: pack/task/dataset.py\n  README.md: docs/index.md\n"
    changes: Files = {
        "{{ package }}/task/data.py": None,
        "{{ package }}/task/dataset.py": REWRITTEN,
    }
    release_moves(
        template, {**changes, "README.md": None, "docs/index.md": "Read me.\n"}, "v1.1.0", moves
    )
    words = updated(project)
    assert (project / "pack/task/dataset.py").read_text() == MORE
    assert not (project / "pack/task/data.py").exists()
    assert "Files you own, not updated though the template changed them:\n" in words
    assert "  pack/task/dataset.py\n" in words
    # A file of the user does not move to a path of the template.
    assert (project / "README.md").read_text() == "Read me.\n"


def test_moves_without_edits_are_counted(tmp_path: Path) -> None:
    first: Files = {OLD: CODE, "a.py": MORE, "b.py": MORE.upper()}
    template, project = start(tmp_path, first)
    commit_files(project, {WAS: by_user(9)})
    second: Files = {OLD: None, NEW: CODE, "a.py": None, "b.py": None}
    moves = MOVED + "  a.py: lib/a.py\n  b.py: lib/b.py\n"
    release_moves(template, {**second, "lib/a.py": MORE, "lib/b.py": MORE.upper()}, "v1.1.0", moves)
    words = updated(project)
    assert f"with your edits:\n  {WAS} -> {NOW}\n" in words
    assert "Moved by the template, not edited by you: 2\n" in words
    assert "a.py ->" not in words


def test_a_downgrade_works_without_moves(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    release_moves(template, {OLD: None, NEW: CODE}, "v1.1.0")
    updated(project)
    commit_files(project, {NOW: by_user(9)})
    updated(project, to="v1.0.0")
    assert (project / WAS).read_text() == by_user(9)
    assert not (project / NOW).exists()


def test_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    template = release_template(tmp_path / "source", {OLD: CODE, "README.md": "about\n"}, "v1.0.0")
    git(tmp_path, "init", "--quiet", "all")
    top = commit_files(tmp_path / "all", {WAS: CODE})
    project = render_project(template, top / "deep" / "mine")
    commit_files(project, {WAS: by_user(1), "README.md": "See pack.serve\n"})
    release_moves(template, {OLD: ALIAS, NEW: REWRITTEN}, "v1.1.0")
    words = updated(project)
    assert (project / NOW).read_text().startswith("line 1 by the user\n")
    assert (top / WAS).read_text() == CODE
    assert "\n  README.md:1: serve.py is now serving/app.py\n" in words


# Lines that name what has moved


def test_lines_of_the_user_that_name_moved_files_are_listed(tmp_path: Path) -> None:
    cli = "src/{{ package }}/cli.py"
    first: Files = {OLD: "from .cli import CODE\n" + CODE, cli: CODE, "README.md": "Read me.\n"}
    template, project = start(tmp_path, {**first, "docs/use.md": "Run `serve.py`\n"})
    user: Files = {
        "README.md": "# Ours\n\nIt is `serve.py`, by `make serve`.\nuvicorn pack.serve:app\n",
        "src/pack/cli.py": CODE.replace("line 9", "from .serve import app\nline 9"),
        WAS: "from .cli import CODE\n" + CODE + "from .cli import ours\n",
        "src/pack/ours.py": "from .serve import (\n    app,\n)\nfrom .cli import CODE\n",
        "tools/run.sh": "python src/pack/serve.py\npython src/pack/serve.pyc\n",
        "logo.png": b"\0pack.serve\n",
    }
    commit_files(project, user)
    release_moves(
        template,
        {OLD: None, NEW: "from ..cli import CODE\n" + CODE, "docs/use.md": "Run pack.serve\n"},
        "v1.1.0",
    )
    listed = [
        "README.md:3: serve.py is now serving/app.py",
        "README.md:4: serve.py is now serving/app.py",
        "src/pack/cli.py:9: serve.py is now serving/app.py",
        "src/pack/serving/app.py:22: .cli is now ..cli",
        "tools/run.sh:1: serve.py is now serving/app.py",
    ]
    heading = "Your lines that still name moved files:\n"
    before = state(project), git(project, "for-each-ref")
    dry = run(project, dry_run=True)[1]
    assert (state(project), git(project, "for-each-ref")) == before
    for words in (dry, updated(project)):
        # Files of `line 1 of the code` are not Python, so their imports are listed.
        assert f"not valid Python:\n  src/pack/cli.py\n  {NOW}\n" in words
        assert (
            "src/pack/ours.py: from .serve import (app) -> from .serving.app import (app)" in words
        )
        rows = words.partition(heading)[2].splitlines()
        assert [row.strip() for row in rows if row.startswith("  ")] == listed
    release_moves(template, {cli: CODE + "more\n"}, "v1.2.0")
    assert heading not in updated(project)


PYTHON = """\
\"\"\"A module.\"\"\"

import os

from .artifacts import A
from .load import ask
from .scope import load_scope


def serve():
    return A, os, ask, load_scope
"""
MOVED_PYTHON = PYTHON.replace(" .artifacts", " ..artifacts").replace(" .scope", " ..scope")
SORTED_PYTHON = MOVED_PYTHON.replace(
    "from .load import ask\nfrom ..scope import load_scope\n",
    "from ..gates import g\nfrom ..scope import load_scope\nfrom .client import ask\n",
)
BOTH = MOVED + "  src/*/load.py: src/*/serving/client.py\n"
LOAD, CLIENT = "src/{{ package }}/load.py", "src/{{ package }}/serving/client.py"


def test_imports_of_the_user_are_merged_with_a_move(tmp_path: Path) -> None:
    """The template moves both modules and adds an import next to each line of the user."""
    cli, dvc = "src/{{ package }}/cli.py", "deps:\n  - ${src}/serve.py\n  - src/pack/load.py\n"
    owned = "from pack.serve import serve\nfrom pack.load import ask\n"
    first: Files = {OLD: PYTHON, LOAD: "ask = 1\n", cli: "from . import load, scope\n"}
    template, project = start(tmp_path, {**first, "dvc.yaml": dvc, "pack/task/test.py": owned})
    ours = PYTHON.replace("from .load", "from .helper import h  # ours\nfrom .load")
    user: Files = {
        WAS: ours.replace("return A", "return h, A"),
        "src/pack/helper.py": "from . import load\n\nh = load.ask\n",
        "src/pack/cli.py": "import re\nfrom . import load, scope\n",
        "tests/test_ours.py": "from pack.load import ask\nfrom pack import serve as s\n",
        "tools/ours.py": "from pack.load import ask\n",
        "dvc.yaml": "# ours\n" + dvc.replace("serve.py\n", "serve.py # the server\n"),
    }
    commit_files(project, user)
    changes: Files = {OLD: None, NEW: SORTED_PYTHON, LOAD: None, CLIENT: "ask = 1\n"}
    changes |= {cli: "from . import scope\nfrom .serving import client\n"}
    new_dvc = dvc.replace("serve.py", "serving/app.py").replace("load.py", "serving/client.py")
    release_moves(template, {**changes, "dvc.yaml": new_dvc}, "v1.1.0", BOTH)
    words = updated(project)
    assert (project / NOW).read_text() == SORTED_PYTHON.replace(
        "from ..scope", "from ..helper import h  # ours\nfrom ..scope"
    ).replace("return A", "return h, A")
    assert contents(project, *list(user)[1:]) == {
        "src/pack/helper.py": "from .serving import client as load\n\nh = load.ask\n",
        "src/pack/cli.py": "import re\nfrom . import scope\nfrom .serving import client\n",
        "tests/test_ours.py": (
            "from pack.serving.client import ask\nfrom pack.serving import app as s\n"
        ),
        "tools/ours.py": "from pack.load import ask\n",
        "dvc.yaml": "# ours\n" + new_dvc.replace("app.py\n", "app.py # the server\n"),
    }
    rewritten = words.partition("Your lines, rewritten because of the moves:\n")[2]
    assert [row.strip() for row in rewritten.splitlines() if row.startswith("  ")][:5] == [
        "dvc.yaml: - ${src}/serve.py # the server -> - ${src}/serving/app.py # the server",
        "src/pack/helper.py: from . import load -> from .serving import client as load",
        f"{NOW}: from .helper import h -> from ..helper import h",
        "tests/test_ours.py: from pack import serve as s -> from pack.serving import app as s",
        "tests/test_ours.py: from pack.load import ask -> from pack.serving.client import ask",
    ]
    assert "  tools/ours.py:1: load.py is now serving/client.py\n" in words


def test_new_code_uses_the_modules_that_the_user_renamed(tmp_path: Path) -> None:
    package, use = "src/{{ package }}", "from .load import ask\n"
    lists = "deps:\n  - ${src}/cli.py\n  - ${src}/load.py\n"
    template, project = start(
        tmp_path, {f"{package}/cli.py": use, LOAD: "import os\n" + CODE, "dvc.yaml": lists}
    )
    user: Files = {"src/pack/load.py": None, "src/pack/ours.py": "import os\n" + CODE}
    user |= {"src/pack/cli.py": use.replace("load", "ours")}
    commit_files(project, {**user, "dvc.yaml": lists.replace("load", "ours")})
    changes: Files = {f"{package}/cli.py": "from .load import ask, more\n"}
    changes |= {f"{package}/serving/new.py": "from ..load import ask\n"}
    more = lists.replace("  - ${src}/load", "  - ${src}/keys.py\n  - ${src}/load")
    release_template(template, {**changes, "dvc.yaml": more}, "v1.1.0")
    words = updated(project)
    assert contents(project, "src/pack/cli.py", "src/pack/serving/new.py", "dvc.yaml") == {
        "src/pack/cli.py": "from .ours import ask, more\n",
        "src/pack/serving/new.py": "from ..ours import ask\n",
        "dvc.yaml": more.replace("load", "ours"),
    }
    heading = "Files of the template, adapted to modules that you renamed:\n"
    assert f"{heading}  dvc.yaml\n  src/pack/cli.py\n  src/pack/serving/new.py\n" in words


def test_files_of_the_user_are_never_rewritten(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: PYTHON, "README.md": "Read me.\n"})
    owned = (template / "copier.yml").read_text().replace("[/README", "[src/*/task/, /README")
    commit_files(template, {"copier.yml": owned}, "v1.0.1")
    commit_files(project, {"src/pack/task/a.py": "from ..serve import app\n"})
    release_moves(template, {OLD: None, NEW: MOVED_PYTHON}, "v1.1.0")
    words = updated(project)
    assert (project / "src/pack/task/a.py").read_text() == "from ..serve import app\n"
    assert "  src/pack/task/a.py:1: serve.py is now serving/app.py\n" in words


MENTIONS = [
    ("src/pack/a.py", "from pack.serve import app", "serve.py is now serving/app.py"),
    ("src/pack/a.py", "import pack.serve as s", "serve.py is now serving/app.py"),
    ("src/pack/a.py", "from pack import scope, serve", "serve.py is now serving/app.py"),
    ("src/pack/a.py", "from . import (scope, serve)", "serve.py is now serving/app.py"),
    ("src/pack/task/a.py", "    from ..serve import app", "serve.py is now serving/app.py"),
    ("src/pack/task/a.py", "from .serve import app", ""),
    ("src/pack/a.py", "from .server import app", ""),
    ("src/pack/a.py", "from other.pack.serve import app", ""),
    ("tests/task/test_a.py", 'patch("pack.serve.app")', "serve.py is now serving/app.py"),
    (
        "tests/task/test_a.py",
        "from pixels import red",
        "tests/pixels.py is now tests/support/px.py",
    ),
    ("tests/task/test_a.py", "import os, pixels", "tests/pixels.py is now tests/support/px.py"),
    ("src/pack/a.py", "import pixels", ""),
    ("src/pack/serving/app.py", "from .scope import load", ".scope is now ..scope"),
    ("src/pack/serving/app.py", "from .answer import infer", ".answer is now .inference"),
    ("src/pack/serving/app.py", "from pack.scope import load", ""),
    ("dvc.yaml", "  - src/pack/answer.py", "answer.py is now serving/inference.py"),
    ("a.md", "See `pack/answer.py`.", "answer.py is now serving/inference.py"),
    ("a.md", "[it](../src/pack/serve.py)", "serve.py is now serving/app.py"),
    ("a.md", "See `ingest.py`, `answers.py` and `serve`.", ""),
    ("a.txt", "See `serve.py`.", ""),
]


@pytest.mark.parametrize(("name", "line", "words"), MENTIONS, ids=lambda text: text[:30])
def test_finds_lines_that_name_a_moved_file(name: str, line: str, words: str) -> None:
    mentions = Mentions(
        {
            WAS: NOW,
            "src/pack/answer.py": "src/pack/serving/inference.py",
            "src/pack/ingest.py": "src/pack/pipeline/ingest.py",
            "tests/pixels.py": "tests/support/px.py",
        }
    )
    assert mentions.find(name, f"\n{line}\n") == [f"{name}:2: {words}"] * bool(words)
    assert mentions.find(name, line, {line}) == []


def test_a_moved_file_with_rewritten_imports_is_not_listed() -> None:
    mentions = Mentions({WAS: NOW}, {NOW})
    assert mentions.find(NOW, "from ..scope import load\nfrom .scope import load\n") == []


# The file itself

WRONG = [
    ("[a]", "got ['a'], not a mapping"),
    ("a: [", "is not YAML: "),
    ("next: {a: b}", "'next' is not a release"),
    ("0.3: {a: b}", "0.3 is not a release"),
    ("0.3.0: [a]", "0.3.0 has ['a'], not a mapping"),
    ("0.3.0: {a: }", "0.3.0 has nothing, which is not the path"),
    ("0.3.0: {a: /etc/passwd}", "0.3.0 has '/etc/passwd', which is not the path"),
    ("0.3.0: {a: ../b}", "0.3.0 has '../b', which is not the path"),
    ("0.3.0: {a/: b/}", "0.3.0 has 'a/', which is not the path"),
    ("0.3.0: {src/*/*.py: b}", "0.3.0 has 'src/*/*.py', which is not the path"),
    ("0.3.0: {a: src/*/a}", "moves 'a' from outside src/*/ into it"),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=lambda text: text[:20])
def test_rejects_a_damaged_file(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        read_moves(write_files(tmp_path, {MOVES: text}))
    assert str(caught.value).startswith(f"the template's {MOVES} is ")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_file_stops_an_update(tmp_path: Path) -> None:
    template, project = start(tmp_path, {OLD: CODE})
    release_moves(template, {OLD: None, NEW: CODE}, "v1.1.0", moves="1.1.0: {a: ../b}\n")
    before = state(project)
    with pytest.raises(Refusal, match="which is not the path of a file"):
        run(project)
    assert state(project) == before


def test_a_missing_or_empty_file_has_no_moves(tmp_path: Path) -> None:
    assert read_moves(tmp_path) == []
    assert read_moves(write_files(tmp_path, {MOVES: "# none yet\n"})) == []


def test_moves_are_sorted_by_release(tmp_path: Path) -> None:
    text = "0.10.0: {b: c}\n0.9.0: {a: b, d: e}\n"
    moves = read_moves(write_files(tmp_path, {MOVES: text}))
    assert moves == [("a", "b"), ("d", "e"), ("b", "c")]
    assert moved_paths(moves, ["a", "d"], ["c"]) == {"a": "c"}
    # `a` is an alias, because what was there has moved already.
    assert moved_paths(moves, ["a", "b"], ["a", "c"]) == {"b": "c"}
