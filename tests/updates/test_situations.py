"""23 ways in which a template and a project can differ; `copier update` loses work in 11."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
    edit_lines,
)

pytestmark = MARKS

JOBS = "".join(f"  {job}:\n    steps:\n      - setup\n      - run\n" for job in ("test", "build"))
PIXELS = bytes(range(256)) * 4
SITUATIONS = [
    Situation(
        "1 the same line",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(5)},
        {"code.py": BOTH},
        status=1,
        prints="code.py: changed by both",
    ),
    Situation(
        "2 different lines",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(9)},
        {"code.py": by_both(5, 9)},
    ),
    Situation(
        "3 adjacent lines",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": by_user(6)},
        {"code.py": BOTH},
        status=1,
    ),
    Situation(
        "4 the template deletes a file that the user edited",
        CODE_PY,
        {"code.py": None, "other.py": MORE},
        {"code.py": by_user(5)},
        {"code.py": by_user(5), "other.py": MORE},
        status=1,
        prints="code.py: changed by you, deleted by the template",
    ),
    Situation(
        "5 the template moves a file that the user edited",
        CODE_PY,
        {"code.py": None, "moved.py": CODE},
        {"code.py": by_user(5)},
        {"code.py": None, "moved.py": by_user(5)},
        prints="code.py -> moved.py",
    ),
    Situation(
        "6 the template moves and edits a file that the user edited",
        CODE_PY,
        {"code.py": None, "moved.py": by_template(5)},
        {"code.py": by_user(9)},
        {"code.py": None, "moved.py": by_both(5, 9)},
        prints="code.py -> moved.py",
    ),
    Situation(
        "7 the user moves a file that the template edits",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": None, "mine.py": by_user(9)},
        {"code.py": None, "mine.py": by_both(5, 9)},
        prints="code.py -> mine.py",
    ),
    Situation(
        "8 the user moves a folder to which the template adds a file",
        {"pack/a.py": CODE, "pack/b.py": MORE},
        {"pack/a.py": by_template(5), "pack/new.py": "new\n"},
        {"pack/a.py": None, "pack/b.py": None, "box/a.py": CODE, "box/b.py": MORE},
        {"box/a.py": by_template(5), "box/new.py": "new\n", "pack/new.py": None, "pack/a.py": None},
    ),
    Situation(
        "9 the user deletes a file that the template edits",
        {"code.py": CODE, "other.py": MORE},
        {"code.py": by_template(5)},
        {"code.py": None},
        {"code.py": None, "other.py": MORE},
        prints="not restored though the template changed them:\n  code.py",
    ),
    Situation(
        "10 jobs that look alike",
        {"ci.yml": f"jobs:\n{JOBS}"},
        {"ci.yml": f"jobs:\n{JOBS.replace('test', 'lint').replace('build', 'docs')}{JOBS}"},
        {"ci.yml": f"jobs:\n{JOBS.replace('- run', '- run --slow', 1)}"},
        {
            "ci.yml": f"jobs:\n{JOBS.replace('test', 'lint').replace('build', 'docs')}"
            f"{JOBS.replace('- run', '- run --slow', 1)}"
        },
    ),
    Situation(
        "11 the user edits a binary",
        {"logo.png": PIXELS, "code.py": CODE},
        {"code.py": by_template(5)},
        {"logo.png": PIXELS[::-1]},
        {"logo.png": PIXELS[::-1], "code.py": by_template(5)},
    ),
    Situation(
        "12 both edit a binary",
        {"logo.png": PIXELS},
        {"logo.png": PIXELS * 2},
        {"logo.png": PIXELS[::-1]},
        {"logo.png": PIXELS[::-1]},
        status=1,
        prints="logo.png: changed by both",
    ),
    Situation(
        "13 the user edits a rendered file that git ignores",
        {".gitignore.jinja": ".env\n", ".env": "KEY=\n", "code.py": CODE},
        {".env": "KEY=\nNEW=\n", "code.py": by_template(5)},
        {".env": "KEY=secret\n"},
        {".env": "KEY=secret\n", "code.py": by_template(5)},
        prints="Files git does not track, not updated though the template changed them:\n  .env",
    ),
    Situation(
        "14 the template adds a file that the user has and git ignores",
        {".gitignore.jinja": "data/\n"},
        {"data/labels.csv": "a,b\n"},
        {"data/labels.csv": "years of work\n"},
        {"data/labels.csv": "years of work\n"},
        status=2,
        prints="the new version would overwrite data/labels.csv, which git does not track",
    ),
    Situation(
        "15 both add the same file",
        {},
        {"new.py": by_template(5)},
        {"new.py": by_user(5)},
        {"new.py": BOTH},
        status=1,
        prints="new.py: added by both",
    ),
    Situation(
        "16 the template turns a file into a folder",
        {"conf": "a = 1\n", "code.py": CODE},
        {"conf": None, "conf/a": MORE, "conf/b": "b = 1\n"},
        {"code.py": by_user(5)},
        {"conf/a": MORE, "conf/b": "b = 1\n", "code.py": by_user(5)},
    ),
    Situation(
        "17 the user has a folder where the template adds a file",
        CODE_PY,
        {"conf": "a = 1\n"},
        {"conf/mine.toml": "mine = 1\n"},
        {"conf/mine.toml": "mine = 1\n", "conf~template_v2.0.0": "a = 1\n"},
        status=1,
        prints="conf~template_v2.0.0: the template's; moved, or its path collides with yours",
    ),
    Situation(
        "18 an answer removes a file that the user edited",
        {"serve.py": CODE},
        {},
        {"serve.py": by_user(5)},
        {"serve.py": by_user(5)},
        status=1,
        answers=("target=edge",),
        prints="serve.py: changed by you, deleted by the template",
    ),
    Situation(
        "19 an answer renames the package that the user edited",
        {"{{ package }}/code.py": CODE, "{{ package }}/task/model.py": MORE},
        {
            "{{ package }}/code.py": by_template(5),
            "{{ package }}/task/model.py": edit_lines(MORE, 5, by="template"),
        },
        {"pack/code.py": by_user(9), "pack/mine.py": "mine\n", "pack/task/model.py": "my model\n"},
        {
            "box/code.py": by_both(5, 9),
            "box/mine.py": "mine\n",
            "pack/code.py": None,
            "pack/mine.py": None,
            "box/task/model.py": "my model\n",
        },
        answers=("package=box",),
        prints="changed answer: package is 'box', was 'pack'",
    ),
    Situation(
        "20 the template edits files that the user owns",
        {"README.md": CODE, "pack/task/a.py": CODE},
        {"README.md": by_template(5), "pack/task/a.py": by_template(5)},
        {"README.md": by_user(9)},
        {"README.md": by_user(9), "pack/task/a.py": CODE},
        prints="Files you own, not updated though the template changed them:\n"
        "  README.md\n  pack/task/a.py\n",
    ),
    Situation(
        "21 the template deletes a file that the user owns",
        {"README.md": CODE, "code.py": CODE},
        {"README.md": None},
        {"README.md": by_user(5)},
        {"README.md": by_user(5)},
        prints="Files you own, not updated though the template changed them:\n  README.md\n",
    ),
    Situation(
        "22 the user changed all line endings",
        CODE_PY,
        {"code.py": by_template(5)},
        {"code.py": CODE.replace("\n", "\r\n")},
        {"code.py": BOTH},
        status=1,
    ),
    Situation(
        "23 the template adds a script",
        CODE_PY,
        {"run.sh": "#!/bin/sh\n"},
        {"code.py": by_user(5)},
        {"run.sh": "#!/bin/sh\n", "code.py": by_user(5)},
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
def test_update_loses_nothing_the_user_wrote(
    case: Situation, tmp_path: Path, start_project: Callable[[Files, Path], None]
) -> None:
    check_nothing_is_lost(case, tmp_path, start_project)
