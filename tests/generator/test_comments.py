"""Comments of settings are merged where the user has not edited them; values never change."""

import pytest
import yaml

from poc2prod.comments import merge_comments

BASE = """# Old words
# on two lines.
project: "a # b" # old name

watch: # old section
  max_idle_s: 3600 # seconds
  # above a limit
  max_age_days: 90
# at the end
"""
THEIRS = """# New words.
project: "a # b" # new name

# How to alert
watch: # new section
  max_idle_s: 3600 # without a request
  max_age_days: 90 # since training
# at the very end
"""


def test_takes_the_comments_around_a_changed_value() -> None:
    base, ours = merge_comments(BASE, BASE.replace("3600", "1800"), THEIRS) or ("", "")
    assert base == THEIRS
    assert ours == THEIRS.replace("3600", "1800")


def test_keeps_the_comments_that_the_user_has_edited() -> None:
    edited = BASE.replace("# seconds", "# ours").replace("# Old words\n", "# Our words\n")
    base, ours = merge_comments(BASE, edited, THEIRS) or ("", "")
    assert base.startswith("# Old words\n# on two lines.\nproject") and "# seconds" in base
    assert ours.startswith("# Our words\n# on two lines.\nproject") and "3600 # ours\n" in ours
    assert "# new name" in ours and "# since training" in ours


def test_keeps_lines_that_the_user_has_added() -> None:
    edited = BASE.replace("  max_age", "  # why\n  ours: 1 # new\n  max_age")
    _, ours = merge_comments(BASE, edited, THEIRS) or ("", "")
    assert (
        "  # above a limit\n  # why\n  ours: 1 # new\n  max_age_days: 90 # since training" in ours
    )


@pytest.mark.parametrize(
    "text",
    [
        "stages:\n  - one # a list\n",
        "a: 1\na: 2\n",
        "a: |\n  text: of several # lines\n",
        "",
    ],
)
def test_leaves_everything_else_to_git(text: str) -> None:
    assert merge_comments(text, text + "b: 1\n", text.replace("#", "# new") + "c: 1\n") is None


@pytest.mark.parametrize("name", ["scope", "params"])
def test_never_changes_a_value(name: str) -> None:
    text = f"{name}: 1 # old\nlist: [1, 2] # of numbers\nempty:\ntext: 'it''s # not' # a comment\n"
    changed = text.replace("1 # old", "2 # old")
    base, ours = merge_comments(text, changed, text.replace("# old", "# new")) or ("", "")
    assert yaml.safe_load(base) == yaml.safe_load(text)
    assert yaml.safe_load(ours) == yaml.safe_load(changed)
    assert "2 # new" in ours
