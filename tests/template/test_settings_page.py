"""`includes/settings.md`, the page about all settings, matches the code of every kind of render."""


import pytest

from conftest import Render
from settings_page import KINDS, PAGE, describe, merge


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return describe(tmp_path_factory.mktemp("settings"))


def test_the_page_is_current(pages: dict[str, str]) -> None:
    assert merge(pages) == PAGE.read_text(), "run `make deps`"


def test_each_kind_of_render_has_the_page_of_its_code(pages: dict[str, str], render: Render) -> None:
    for kind, page in pages.items():
        assert (render(**KINDS[kind]) / "docs/settings.md").read_text() == page, kind


def test_api_keys_are_on_the_page(pages: dict[str, str]) -> None:
    for kind, page in pages.items():
        for name in ("API_KEYS", "API_KEYS_FILE"):
            assert (f"`SCRATCH_DETECTOR_{name}`" in page) == ("edge" not in kind)


def test_a_change_of_the_code_changes_the_page(pages: dict[str, str]) -> None:
    other = {kind: page.replace("`epochs`", "`passes`") for kind, page in pages.items()}
    assert merge(other) != PAGE.read_text()
