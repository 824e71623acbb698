"""Situations beyond the 23: files that are owned, moved, untracked or oddly named; modes, links."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from repository import committed
from situations import BOTH, Situation, nothing_is_lost
from small_template import (
    CODE,
    CODE_PY,
    MORE,
    Files,
    by_both,
    by_template,
    by_user,
    released,
    rendered,
    run,
)

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("temporary")]

SITUATIONS = [
    Situation(
        "an owned file that the user moved",
        {"README.md": CODE},
        {"README.md": by_template(5)},
        {"README.md": None, "docs/intro.md": by_user(9)},
        {"README.md": None, "docs/intro.md": by_user(9)},
    ),
    Situation(
        "an owned file that is new, and there already",
        CODE_PY,
        {"README.md": by_template(5)},
        {"README.md": "mine\n"},
        {"README.md": "mine\n"},
        says="Yours, so kept, though the template changed them:\n  README.md\n",
    ),
    Situation(
        "the template moves what is the user's",
        {"pack/task/a.py": CODE, "pack/task/b.py": MORE},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_template(5)},
        {"pack/task/a.py": by_user(9)},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_user(9)},
        says="pack/task/a.py -> pack/task/sub/a.py",
    ),
    Situation(
        "the template moves and edits what the user dropped",
        {"code.py": CODE, "other.py": MORE},
        {"code.py": None, "moved.py": by_template(5)},
        {"code.py": None},
        {"code.py": None, "moved.py": None, "other.py": MORE},
        says="not brought back, though the template changed them:\n  moved.py",
    ),
    Situation(
        "both move the same file",
        CODE_PY,
        {"code.py": None, "theirs.py": CODE},
        {"code.py": None, "mine.py": by_user(5)},
        {"mine.py": by_user(5)},
        status=1,
        says="code.py: both moved it",
    ),
    Situation(
        "names that look like something else",
        {"-rf.py": CODE, "*.py": CODE, "c\nd.py": CODE, ":(top)é.py": CODE},
        {
            "-rf.py": by_template(5),
            "*.py": by_template(5),
            "c\nd.py": by_template(5),
            ":(top)é.py": by_template(5),
        },
        {"-rf.py": by_user(9), "*.py": None, "c\nd.py": by_user(5), ":(top)é.py": None},
        {"-rf.py": by_both(5, 9), "*.py": None, ":(top)é.py": None, "c\nd.py": BOTH},
        status=1,
        says="  c?d.py: both changed it",
    ),
    Situation(
        "what git does not track and nothing writes over",
        CODE_PY,
        {"code.py": by_template(5), "conf/new.toml": "new\n"},
        {"draft.txt": "draft\n", "conf/mine.toml": "mine\n"},
        {"code.py": by_template(5), "conf/new.toml": "new\n", "draft.txt": "draft\n"},
        settings={"untracked": "yes"},
    ),
    Situation(
        "what git does not track where the template adds a folder",
        CODE_PY,
        {"conf/new.toml": "new\n"},
        {"conf": "mine\n"},
        {"conf": "mine\n"},
        status=2,
        says="git does not track conf, and the new version would write over that",
        settings={"untracked": "yes"},
    ),
    Situation(
        "what git does not track where the template adds a file",
        CODE_PY,
        {"conf": "new\n"},
        {"conf/deep/mine.toml": "mine\n"},
        {"conf/deep/mine.toml": "mine\n"},
        status=2,
        says="git does not track conf/deep/mine.toml, and the new version would write over that",
        settings={"untracked": "yes"},
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
def test_nothing_is_lost_there_either(
    case: Situation, tmp_path: Path, started: Callable[[Files, Path], None]
) -> None:
    nothing_is_lost(case, tmp_path, started)


def test_modes_and_links_are_followed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    released(
        source,
        {"run.sh": "#!/bin/sh\n", "a.py": CODE},
        "v1",
        copier_yml="_subdirectory: template\n_preserve_symlinks: true\n",
    )
    project = rendered(source, tmp_path / "mine")
    (source / "template/run.sh").chmod(0o755)
    (source / "template/link.py").symlink_to("a.py")
    released(source, {}, "v2")
    (project / "a.py").chmod(0o755)
    committed(project, {"run.sh": "#!/bin/sh\necho mine\n"})
    assert run(project, merge=True)[0] == 0
    assert (project / "link.py").readlink() == Path("a.py")
    assert (project / "run.sh").read_text() == "#!/bin/sh\necho mine\n"
    for name in ("run.sh", "a.py"):
        assert (project / name).stat().st_mode & stat.S_IXUSR
