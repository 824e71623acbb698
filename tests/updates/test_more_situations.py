"""More situations: owned, moved, untracked and oddly named files; file modes and symlinks."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from repository import commit_files
from situations import BOTH, Situation, check_nothing_is_lost
from small_template import (
    CODE,
    CODE_PY,
    MARKS,
    MORE,
    Files,
    by_both,
    by_template,
    by_user,
    release_template,
    render_project,
    run,
)

pytestmark = MARKS

SITUATIONS = [
    Situation(
        "an owned file that the user moved",
        {"README.md": CODE},
        {"README.md": by_template(5)},
        {"README.md": None, "docs/intro.md": by_user(9)},
        {"README.md": None, "docs/intro.md": by_user(9)},
    ),
    Situation(
        "the template adds an owned file that the user already has",
        CODE_PY,
        {"README.md": by_template(5)},
        {"README.md": "mine\n"},
        {"README.md": "mine\n"},
        prints="Files you own, not updated though the template changed them:\n  README.md\n",
    ),
    Situation(
        "the template moves files that the user owns",
        {"pack/task/a.py": CODE, "pack/task/b.py": MORE},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_template(5)},
        {"pack/task/a.py": by_user(9)},
        {"pack/task/a.py": None, "pack/task/sub/a.py": by_user(9)},
        prints="pack/task/a.py -> pack/task/sub/a.py",
    ),
    Situation(
        "the template moves and edits a file that the user deleted",
        {"code.py": CODE, "other.py": MORE},
        {"code.py": None, "moved.py": by_template(5)},
        {"code.py": None},
        {"code.py": None, "moved.py": None, "other.py": MORE},
        prints="not restored though the template changed them:\n  moved.py",
    ),
    Situation(
        "both move the same file",
        CODE_PY,
        {"code.py": None, "theirs.py": CODE},
        {"code.py": None, "mine.py": by_user(5)},
        {"mine.py": by_user(5)},
        status=1,
        prints="code.py: moved by both",
    ),
    Situation(
        "file names that look like options or patterns",
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
        prints="  c?d.py: changed by both",
    ),
    Situation(
        "untracked files outside the template's changes",
        CODE_PY,
        {"code.py": by_template(5), "conf/new.toml": "new\n"},
        {"draft.txt": "draft\n", "conf/mine.toml": "mine\n"},
        {"code.py": by_template(5), "conf/new.toml": "new\n", "draft.txt": "draft\n"},
        settings={"untracked": "yes"},
    ),
    Situation(
        "an untracked file where the template adds a folder",
        CODE_PY,
        {"conf/new.toml": "new\n"},
        {"conf": "mine\n"},
        {"conf": "mine\n"},
        status=2,
        prints="the new version would overwrite conf, which git does not track",
        settings={"untracked": "yes"},
    ),
    Situation(
        "an untracked folder where the template adds a file",
        CODE_PY,
        {"conf": "new\n"},
        {"conf/deep/mine.toml": "mine\n"},
        {"conf/deep/mine.toml": "mine\n"},
        status=2,
        prints="the new version would overwrite conf/deep/mine.toml, which git does not track",
        settings={"untracked": "yes"},
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
def test_update_loses_nothing_the_user_wrote(
    case: Situation, tmp_path: Path, start_project: Callable[[Files, Path], None]
) -> None:
    check_nothing_is_lost(case, tmp_path, start_project)


def test_update_merges_file_modes_and_symlinks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    release_template(
        source,
        {"run.sh": "#!/bin/sh\n", "a.py": CODE},
        "v1",
        copier_yml="_subdirectory: template\n_preserve_symlinks: true\n",
    )
    project = render_project(source, tmp_path / "mine")
    (source / "template/run.sh").chmod(0o755)
    (source / "template/link.py").symlink_to("a.py")
    release_template(source, {}, "v2")
    (project / "a.py").chmod(0o755)
    commit_files(project, {"run.sh": "#!/bin/sh\necho mine\n"})
    assert run(project, merge=True)[0] == 0
    assert (project / "link.py").readlink() == Path("a.py")
    assert (project / "run.sh").read_text() == "#!/bin/sh\necho mine\n"
    for name in ("run.sh", "a.py"):
        assert (project / name).stat().st_mode & stat.S_IXUSR
