"""Find the two template versions of an update: the recorded one and the new one."""

import re
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from .answers import ANSWERS
from .checkout import Checkout
from .files import read_text
from .git import LOG, Repository
from .output import markdown, plain, say
from .questions import did_you_mean
from .refusal import Refusal
from .template import check_out, clone, list_releases, version_key


@dataclass(frozen=True)
class Versions:
    """A clone of the template, checked out at the new version; `new` is empty if there is none."""

    source: str
    template: Repository
    old: str
    new: str
    name: str


def find_versions(
    project: Checkout, source: str, to: str | None, can_stay: bool, place: Path
) -> Versions:
    """Clone the template and find the recorded and the new version.

    With `can_stay`, the new version may be the recorded one. Raises Refusal.
    """
    try:
        template = clone(source, place, project.folder, may_ask=True)
    except Refusal as error:
        raise Refusal(f"{error}; give another source with --template SOURCE") from None
    address, recorded = plain(source), str(project.recorded["_commit"])
    if not (old := template.find_commit(recorded)):
        raise Refusal(
            f"{address} has no {recorded}, which {ANSWERS} records as the version of the project; "
            "give a source that has it with --template SOURCE"
        )
    releases = list_releases(template)
    wanted = to or (releases[-1] if releases else "HEAD")
    new = old if to == "current" else template.find_commit(wanted)
    if not new:
        hint = did_you_mean(wanted, releases) or f"; it has {', '.join(releases[-5:]) or 'no tag'}"
        raise Refusal(f"{address} has no {wanted}{hint}")
    # The recorded version may be newer than the last release.
    if not to and template.line("merge-base", new, old, ok=(0, 1)) == new:
        new = old if can_stay else ""
    if new and not check_out(template, new):
        raise Refusal(f"{address} is not a template at {wanted}: it has no copier.yml")
    name = template.line("describe", "--tags", "--always", new) if new else ""
    return Versions(source, template, old, new, name)


def print_news(console: Console, versions: Versions, before: str) -> None:
    """Print what changed: new sections of the change log, or else commit subjects."""
    template = versions.template
    text = read_text(template.folder, Path("CHANGELOG.md"), default="")
    known = template("show", f"{versions.old}:CHANGELOG.md", ok=(0, 128))
    since = version_key(before)
    news = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        release = re.match(r"## \[?(v?\d+(?:\.\d+)+)", section)
        if version_key(release[1]) > since if since and release else section.strip() not in known:
            news.append(section)
    between = f"{versions.old}..{versions.new}"
    if text := "".join(news) or template(*LOG, "--format=- %s", "--max-count=10", between):
        _print_markdown(console, text)


def _print_markdown(console: Console, text: str) -> None:
    """Print formatted Markdown on a terminal, and its source in a log or a pull request."""
    if not console.is_terminal:
        return say(console, *text.rstrip().splitlines())
    console.print(markdown(text))
