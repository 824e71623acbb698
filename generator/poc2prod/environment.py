"""Compare `pyproject.toml`, `uv.lock` and the installed packages of a project, by reading files.

`uv` would build the project to answer the same questions, and so run its code.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from .files import read_text
from .refusal import Refusal

LOCK, PROJECT = Path("uv.lock"), Path("pyproject.toml")
SEEDS = {"pip", "setuptools", "wheel", "uv"}  # which uv leaves in an environment
LISTED = 5
DYNAMIC = "not checked: a build computes the dependencies"
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError, Refusal)
Needs = dict[str, set[tuple[str, str]]]  # name and versions of each requirement, by extra or group


@dataclass(frozen=True)
class Project:
    """What `pyproject.toml` says about packages."""

    name: str
    needs: Needs
    default_groups: list[str]
    is_dynamic: bool


def find_problem(folder: Path, environment: Path) -> str:
    """Return how lock file and environment differ from what they should be; "" if they do not."""
    try:
        project = read_project(folder)
        if project.is_dynamic:
            return DYNAMIC
        packages = read_lock(folder)
        if matches_lock(project, packages):
            changes = find_changes(project, packages, environment)
            more = [f"and {len(changes) - LISTED} more"] * (len(changes) > LISTED)
            names = ", ".join([*changes[:LISTED], *more])
            return f"does not match uv.lock: {names}" if changes else ""
    except DAMAGED:
        pass
    return "uv.lock does not match pyproject.toml"


def read_project(folder: Path) -> Project:
    """Read `pyproject.toml`. Raises one of `DAMAGED`, if it is not valid."""
    content = tomllib.loads(read_text(folder, PROJECT))
    about, groups = content["project"], content.get("dependency-groups", {})
    lists = {"": about.get("dependencies", []), **about.get("optional-dependencies", {})}
    lists |= {f"group {name}": list(_group(groups, name, set())) for name in groups}
    settings = content.get("tool", {}).get("uv", {})
    needs = {name: {_requirement(text) for text in texts} for name, texts in lists.items()}
    defaults = settings.get("default-groups", ["dev"])
    return Project(
        canonicalize_name(about["name"]),
        needs,
        list(groups) if defaults == "all" else defaults,
        "dependencies" in about.get("dynamic", []),
    )


def _group(groups: dict[str, Any], name: str, seen: set[str]) -> Iterator[str]:
    """Yield the requirements of a group and of those that it includes."""
    if name not in seen:
        seen.add(name)
        for item in groups[name]:
            if isinstance(item, dict):
                yield from _group(groups, item["include-group"], seen)
            else:
                yield item


def _requirement(text: str) -> tuple[str, str]:
    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(str(error)) from None
    return canonicalize_name(parsed.name), str(parsed.specifier)


def read_lock(folder: Path) -> list[dict[str, Any]]:
    """Return the packages of `uv.lock`. Raises one of `DAMAGED`, if it is not valid."""
    return list(tomllib.loads(read_text(folder, LOCK))["package"])


def matches_lock(project: Project, packages: list[dict[str, Any]]) -> bool:
    """Whether the lock file was made for these requirements."""
    (own,) = (package for package in packages if package["name"] == project.name)
    metadata, locked = own.get("metadata", {}), defaultdict(set)
    for row in metadata.get("requires-dist", []):
        extra = re.search(r"extra == '([^']+)'", row.get("marker", ""))
        locked[extra[1] if extra else ""].add(_locked(row))
    for group, rows in metadata.get("requires-dev", {}).items():
        locked[f"group {group}"] |= {_locked(row) for row in rows}
    return {n: found for n, found in locked.items() if found} == {
        name: wanted for name, wanted in project.needs.items() if wanted
    }


def _locked(row: dict[str, Any]) -> tuple[str, str]:
    return row["name"], str(SpecifierSet(row.get("specifier", "")))


def find_changes(project: Project, packages: list[dict[str, Any]], environment: Path) -> list[str]:
    """Return the packages that `uv sync --all-extras` would install, replace or remove."""
    wanted, installed = _wanted(project, packages, environment), _installed(environment)
    for name in {project.name, *SEEDS}:
        installed.pop(name, None)
    names = wanted.keys() | installed.keys()
    return sorted(name for name in names if wanted.get(name) != installed.get(name))


def _installed(environment: Path) -> dict[str, Version | None]:
    """Return the versions of installed packages, from the names of their folders."""
    versions = {}
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        versions[str(canonicalize_name(name))] = _version(version)
    return versions


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _wanted(
    project: Project, packages: list[dict[str, Any]], environment: Path
) -> dict[str, Version | None]:
    """Return the packages of the lock file that this environment needs."""
    known = defaultdict(list)
    for package in packages:
        known[package["name"]].append(package)
    (own,) = known[project.name]
    groups = own.get("dev-dependencies", {})
    todo = [*own.get("dependencies", [])]
    todo += [row for rows in own.get("optional-dependencies", {}).values() for row in rows]
    todo += [row for name in project.default_groups for row in groups.get(name, [])]
    variables, wanted, seen = _marker_variables(environment), {}, set()
    while todo:
        row = todo.pop()
        if not _applies(row.get("marker", ""), variables):
            continue
        for package in known[row["name"]]:
            if row.get("version", package.get("version")) != package.get("version"):
                continue
            for extra in ("", *row.get("extra", [])):
                if (key := (package["name"], package.get("version"), extra)) not in seen:
                    seen.add(key)
                    optional = package.get("optional-dependencies", {})
                    todo += optional.get(extra, []) if extra else package.get("dependencies", [])
            if package["name"] != project.name:
                wanted[package["name"]] = _version(str(package.get("version")))
    return wanted


def _marker_variables(environment: Path) -> dict[str, str]:
    """Return the version of Python in an environment, as markers name it."""
    text = read_text(environment, Path("pyvenv.cfg"), default="")
    found = re.search(r"^version(?:_info)?\s*=\s*((\d+\.\d+)\S*)", text, re.MULTILINE)
    return {"python_full_version": found[1], "python_version": found[2]} if found else {}


def _applies(marker: str, variables: dict[str, str]) -> bool:
    try:
        return not marker or Marker(marker).evaluate({"extra": "", **variables})
    except (InvalidMarker, UndefinedEnvironmentName):
        return True
