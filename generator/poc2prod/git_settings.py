"""Settings of git that apply to every git process, and to those that it starts.

A repository may come from others, with a `.git/config` that names programs: to examine it
must not run them. Settings of the user stay in force.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Keys whose values git runs as a command, or that choose such a key.
COMMANDS = re.compile(
    r"core\.(fsmonitor|hookspath|pager|editor|sshcommand|askpass|gitproxy|alternaterefscommand)"
    r"|(filter|diff|merge|trailer|gpg|pager|alias|credential|uploadpack|sequence|interactive)\..*"
    r"|remote\..*\.(uploadpack|receivepack|vcs|proxy|promisor|partialclonefilter)"
    r"|(log\.showsignature|(commit|tag)\.gpgsign|init\.templatedir|submodule\.recurse)"
)
SWITCHES = re.compile(
    r".*\.(fsmonitor|required|promisor|binary|cachetextconv|showsignature|gpgsign|recurse)"
)
ALWAYS = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}
LOCAL = ("local", "worktree")
# Without programs that a scheme names, like ext:: and fd::.
PROTOCOLS = {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
# For a repository that is only read: a partial clone would fetch what it lacks.
NO_PROTOCOLS = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


def safe_variables(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables that keep git from running what the configuration of a folder names."""
    listing = ["git", "config", "--list", "--show-scope", "-z"]
    try:
        output = subprocess.run(
            listing, cwd=folder, env={**environment}, capture_output=True, check=False
        ).stdout
    except OSError:  # no such folder, or no git
        output = b""
    own: dict[str, str] = {}
    theirs: set[str] = set()
    rows = os.fsdecode(output).split("\0")
    for scope, row in zip(rows[::2], rows[1::2], strict=False):
        key, _, value = row.partition("\n")
        if scope not in LOCAL:
            own[key] = value
        elif COMMANDS.fullmatch(key):
            theirs.add(key)
    harmless = {key: "false" if SWITCHES.fullmatch(key) else "" for key in theirs}
    return as_variables({key: own.get(key, harmless[key]) for key in theirs} | ALWAYS, environment)


def as_variables(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables with settings, after those that an environment has already."""
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(count + len(settings))}
    for number, (key, value) in enumerate(settings.items(), count):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


@contextmanager
def with_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Apply settings to all git processes that are started in the block."""
    with with_variables(as_variables(settings, os.environ)):
        yield


@contextmanager
def with_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
