"""Merge the changes between two renders of a template with the user's files."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from .answers import ANSWERS
from .checkout import Checkout
from .git import Files, Repository, find_overwritten
from .moves import Mentions, moved_paths
from .refusal import Refusal
from .rewriting import Rewriting

# The stages of an unmerged file in git's index: 1 is the base, 2 the user's, 3 the template's.
CONFLICTS = {
    "123": "changed by both",
    "23": "added by both",
    "12": "changed by you, deleted by the template",
    "13": "deleted by you, changed by the template",
    "1": "moved by both",
    "2": "yours; moved, or its path collides with the template's",
    "3": "the template's; moved, or its path collides with yours",
}


def merge_renders(
    project: Checkout,
    scratch: Repository,
    old: Path,
    new: Path,
    owned: list[str],
    branch: str,
    moves: Iterable[tuple[str, str]] = (),
    generated: Collection[str] = (),
) -> list[str]:
    """Merge the changes between two renders into the user's files; return lines to print.

    Conflicts stay unmerged in the scratch repository. `moves` are the old and new paths that the
    template lists, `generated` the files that commands of the project write. Raises Refusal.
    """
    from pathspec import PathSpec

    is_owned = PathSpec.from_lines("gitignore", owned).match_file
    rendered, wanted = scratch.store_folder(old), scratch.store_folder(new)
    # Only Copier writes this file, so the user's version is the base of the new one.
    rendered[ANSWERS] = project.files[project.prefix + ANSWERS]
    listed = moved_paths(moves, rendered, wanted)
    followed = _choose_moves(project, listed, is_owned)
    rewriting = Rewriting(scratch, followed, is_owned)
    own = project.own_files()
    # With both sides at the new path, git merges them even if they share little.
    base = {followed.get(n, n): about for n, about in rewriting.rewrite(rendered).items()}
    ours = replace(project, files=project.with_files(rewriting.rewrite(own))).with_moves(followed)
    start, mine = scratch.store_tree(ours.with_files(base)), scratch.store_tree(ours.files)
    moved_by_user = scratch.find_renames(start, mine, project.prefix)
    # Use the user's names of renamed files in the template's changes and additions.
    renamed = {was: now for now, was in moved_by_user.items() if was.endswith(".py")}
    renaming, as_rendered = Rewriting(scratch, renamed, is_owned), wanted
    base, wanted = renaming.rewrite(base), renaming.rewrite(wanted)
    base, own_merged = rewriting.merge_lines(base, ours.own_files(), wanted)
    ours = replace(ours, files=ours.with_files(own_merged))
    # Treat generated files as unedited, so the merge takes the template's side.
    written = {name for name in generated if ours.tracked(name) not in (None, base.get(name))}
    written &= base.keys()
    ours = ours.with_contents({name: base[name] for name in written})
    before = scratch.store_tree(ours.with_files(base))
    after = scratch.store_tree(ours.with_files(wanted))
    detected = {was: now for now, was in scratch.find_renames(before, after, ours.prefix).items()}
    theirs, kept = _restore_owned(ours, is_owned, base, wanted, detected)
    absent = {was: now for was, now in followed.items() if not ours.has(now)}
    for was in absent:
        theirs.pop(was, None)  # an alias of a file that the user has deleted
    first = scratch.commit(before, words="the version before")
    last = scratch.commit(scratch.store_tree(project.with_files(theirs)), first, words=branch)
    mine = scratch.commit(scratch.store_tree(ours.files), first, words="the project")
    dropped = {project.inside(name) for name in scratch.merge(mine, last, branch)}
    result = [n for n in scratch.rows("ls-files", "-z") if os.path.lexists(scratch.folder / n)]
    _refuse_overwriting(project, result)
    dropped |= {*absent.values()} - {*moved_by_user.values()}
    untracked = {name for name in dropped if ours.has(name)}
    origins = {now: was for was, now in followed.items()}
    changed = (pair for pair in moved_by_user.items() if theirs.get(pair[1]) != base[pair[1]])
    conflicts = ((project.inside(name), sides) for name, sides in scratch.unmerged().items())
    # A line in a file of the template is the user's if neither render contains it.
    renders = {
        name: (new / name, old / origins.get(name, name)) for name in wanted if not is_owned(name)
    }
    inside = {project.inside(name) for name in result if name.startswith(project.prefix)}
    files = {name: renders.get(name, ()) for name in inside - {ANSWERS}}
    readable = {followed.get(name, name) for name in rewriting.readable(own)}
    return [
        *_section("Generated files, replaced or deleted by the template:", written),
        *_section("Files you own, not updated though the template changed them:", kept),
        *_section(
            "Files git does not track, not updated though the template changed them:", untracked
        ),
        *_section(
            "Deleted by you, not restored though the template changed them:",
            dropped - untracked,
        ),
        *_list_moves(project, rendered, {**detected, **followed}),
        *_section(
            "Moved by you, updated at their new paths:",
            [f"{origins.get(was, was)} -> {name}" for name, was in changed],
        ),
        *_section("Conflicts:", [f"{name}: {CONFLICTS[sides]}" for name, sides in conflicts]),
        *_list_rewritten(rewriting, rendered, own),
        *_section(
            "Files of the template, adapted to modules that you renamed:",
            [name for name in wanted if wanted[name] != as_rendered[name]],
        ),
        *_list_mentions(scratch.folder / project.prefix, files, Mentions(listed, readable)),
    ]


def _refuse_overwriting(project: Checkout, result: Collection[str]) -> None:
    """Raise Refusal if the merge adds files at paths of the user's untracked files."""
    tracked = set(project.files)
    if clashes := find_overwritten(project.git.folder, {*result} - tracked, tracked):
        raise Refusal(
            f"the new version would overwrite {', '.join(clashes)}, which git does not track; "
            "move or commit it"
        )


def _list_moves(project: Checkout, rendered: Files, moved: Mapping[str, str]) -> list[str]:
    """List the moved files that the user has edited; count the others."""
    edited = [was for was in moved if project.tracked(was) not in (None, rendered.get(was))]
    untouched = [was for was in moved if project.tracked(was) == rendered.get(was)]
    rows = [f"{was} -> {moved[was]}" for was in edited]
    lines = _section("Moved by the template, with your edits:", rows)
    if untouched:
        lines.append(f"Moved by the template, not edited by you: {len(untouched)}")
    return lines


def _list_rewritten(rewriting: Rewriting, rendered: Files, own: Files) -> list[str]:
    """List the user's rewritten lines, and the files that could not be rewritten."""
    places = rewriting.moves
    changes = rewriting.changes(rendered, own)
    rows = [
        f"{places.get(name, name)}: {was} -> {now}"
        for name, pairs in changes.items()
        for was, now in pairs
    ]
    damaged = [places.get(name, name) for name in rewriting.unreadable(own)]
    return [
        *_section("Your lines, rewritten because of the moves:", rows),
        *_section("Not rewritten, because they are not valid Python:", damaged),
    ]


def _section(heading: str, names: Collection[str]) -> list[str]:
    return [heading, *(f"  {name}" for name in sorted(names))] if names else []


def _choose_moves(
    project: Checkout, moves: Mapping[str, str], is_owned: Callable[[str], bool]
) -> dict[str, str]:
    """Choose the moves that the project can follow without overwriting files."""
    if not moves:
        return {}
    folders = {str(folder) for name in project.files for folder in PurePosixPath(name).parents}

    def is_free(name: str) -> bool:
        path = project.prefix + name
        above = {str(folder) for folder in PurePosixPath(path).parents}
        is_taken = path in project.files or path in folders or above & project.files.keys()
        return not is_taken and not find_overwritten(project.folder, {name}, set())

    def can_follow(was: str, now: str) -> bool:
        if is_owned(was) and not is_owned(now):
            return False  # a file that the user owns must stay theirs
        has_moved = project.tracked(was) is None and project.tracked(now) is not None
        return has_moved or is_free(now)

    return {was: now for was, now in moves.items() if can_follow(was, now)}


def _restore_owned(
    project: Checkout,
    is_owned: Callable[[str], bool],
    base: Files,
    wanted: Files,
    moved: dict[str, str],
) -> tuple[Files, list[str]]:
    """Undo the template's changes to files that the user owns; list those files."""
    # A file that the template moves is moved, but keeps the user's content.
    followed = {
        was: now
        for was, now in moved.items()
        if is_owned(now) and is_owned(was) and not project.has(now)
    }
    theirs, kept = dict(wanted), []
    for name in filter(is_owned, sorted({**base, **wanted})):
        if name in base:
            theirs.pop(name, None)
            theirs[followed.get(name, name)] = base[name]
            if wanted.get(name) != base[name] and name not in followed and project.has(name):
                kept.append(name)
        elif project.has(name):
            del theirs[name]
            kept += [name] * (project.tracked(name) != wanted[name])
    return theirs, kept


def _list_mentions(
    folder: Path, files: Mapping[str, Collection[Path]], mentions: Mentions
) -> list[str]:
    """List the user's lines that name moved files.

    `files` maps each file of the merged project to its renders, whose lines are not the user's.
    """
    if not mentions.moves:
        return []
    rows = []
    for name, renders in sorted(files.items()):
        if text := _text(folder / name):
            rendered = {line for path in renders for line in _text(path).split("\n")}
            rows += mentions.find(name, text, rendered)
    heading = "Your lines that still name moved files:"
    return [heading, *(f"  {row}" for row in rows)] if rows else []


def _text(path: Path) -> str:
    """Return the text of a file; empty if it is missing or binary."""
    if path.is_symlink() or not path.is_file():
        return ""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8", "replace").replace("\r\n", "\n")
