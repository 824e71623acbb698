"""Git branches of candidates, and their pull requests on GitHub, opened with the CLI gh."""

import json
import os
import subprocess
import sys
from typing import Any

PREFIX = "retrain/"
DVC = (sys.executable, "-m", "dvc")
# git gets the token from gh, so that it is neither on a command line nor in a file.
LOGIN = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")
TOKENS = ["GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "ACTIONS_RUNTIME_TOKEN"]
BACK = "To undo: `git stash --include-untracked`, then `uv run dvc checkout`."
NO_GH = """gh, the CLI of GitHub, is not installed: https://cli.github.com.
Without GITHUB_TOKEN, `make retrain` leaves the branch on this machine."""
NEEDS = """If permissions are missing: the job needs `pull-requests: write` and `contents: write`,
and the repository needs the setting "Allow GitHub Actions to create and approve pull requests"
(Settings, Actions, General)."""


def git(*arguments: str, given: str = "") -> str:
    """Return the output of a git command.

    Raises:
        SystemExit: it fails, with its error.
    """
    result = _run("git", *arguments, given=given)
    if result.returncode:
        raise SystemExit(f"git {' '.join(arguments[-3:])}: {result.stderr.strip()}")
    return result.stdout.strip()


def gh(*arguments: str, given: str = "") -> str:
    """Return the output of a `gh pr` command for the repository of this job.

    Raises:
        SystemExit: gh is missing or fails, with its error.
    """
    host = os.environ.get("GITHUB_SERVER_URL", "https://github.com").partition("://")[2]
    repository = f"{host}/{os.environ['GITHUB_REPOSITORY']}"
    try:
        result = _run("gh", "pr", *arguments, "--repo", repository, given=given)
    except FileNotFoundError:
        raise SystemExit(NO_GH) from None
    if result.returncode:
        raise SystemExit(f"gh pr {arguments[0]}: {result.stderr.strip()}\n{NEEDS}")
    return result.stdout.strip()


def _run(*command: str, given: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"GH_PROMPT_DISABLED": "1"}
    if token := os.environ.get("GITHUB_TOKEN"):
        # gh reads the second one for GitHub Enterprise Server (GITHUB_SERVER_URL).
        env |= {"GH_TOKEN": token, "GH_ENTERPRISE_TOKEN": token}
    return subprocess.run(command, input=given, capture_output=True, text=True, env=env)  # noqa: S603


def dvc(*arguments: str) -> bool:
    """Run a DVC command; return whether it succeeded."""
    command = [*DVC, *arguments, "--quiet"]
    return subprocess.run(command, capture_output=True, env=without_tokens()).returncode == 0  # noqa: S603


def without_tokens() -> dict[str, str]:
    """Return the environment for training, which runs the code of many packages."""
    return {name: value for name, value in os.environ.items() if name not in TOKENS}


def is_on_github() -> bool:
    """Whether this is a job of GitHub Actions with a token."""
    return bool(os.environ.get("GITHUB_TOKEN") and os.environ.get("GITHUB_REPOSITORY"))


def name_branches() -> tuple[str, str]:
    """Return the current branch, and the branch for a candidate.

    The candidate's branch is named after the commit, which determines the training.

    Raises:
        SystemExit: there are uncommitted changes, or no branch is checked out.
    """
    if changed := git("status", "--porcelain"):
        raise SystemExit(f"A candidate needs a clean commit. Commit or stash:\n{changed}")
    if not (base := git("branch", "--show-current")):
        raise SystemExit("No branch is checked out. `git switch` to the one to merge into.")
    return base, PREFIX + git("rev-parse", "--short=12", "HEAD")


def already_proposed(branch: str) -> bool:
    """Whether any candidate has an open pull request, or this one has a closed one."""
    for pull in _pulls("--state", "open"):
        if pull["headRefName"].startswith(PREFIX):
            print(f"{pull['url']} is open: merge or close it first.")
            return True
    for pull in _pulls("--state", "closed", "--head", branch):
        print(f"{pull['url']} is {pull['state'].lower()}: no commit since then.")
        return True
    return False


def _pulls(*options: str) -> list[dict[str, Any]]:
    """List pull requests from branches of this repository, not of forks."""
    fields = "headRefName,isCrossRepository,state,url"
    # The default limit of gh is 30.
    pulls = json.loads(gh("list", *options, "--limit", "200", "--json", fields))
    return [pull for pull in pulls if not pull["isCrossRepository"]]


def already_failed(branch: str) -> bool:
    """Whether an earlier job rejected the candidate of this commit."""
    if tag := git(*LOGIN, "ls-remote", "origin", _tag(branch)):
        print(f"{tag.split()[1]}: this candidate was rejected earlier; no commit since then.")
    return bool(tag)


def remember_failure(branch: str) -> None:
    """On GitHub, tag the commit: later jobs then do not train the same candidate again."""
    if is_on_github():
        git(*LOGIN, "push", "--quiet", "--force", "origin", f"HEAD:{_tag(branch)}")


def _tag(branch: str) -> str:
    return f"refs/tags/tried/{branch.removeprefix(PREFIX)}"


def branch_exists(branch: str) -> bool:
    """Whether an earlier run made this branch. If it is only on GitHub, fetch it."""
    if git("branch", "--list", branch):
        return True
    if not (is_on_github() and git(*LOGIN, "ls-remote", "origin", f"refs/heads/{branch}")):
        return False
    git(*LOGIN, "fetch", "--quiet", "origin", f"{branch}:{branch}")
    return True


def commit(branch: str, message: str, share: bool) -> None:
    """Commit all changes to a new branch, and reset the current branch.

    HEAD never moves: the current branch stays checked out.

    Raises:
        SystemExit: git fails, or DVC cannot push the files to be shared.
    """
    if share and dvc("config", "core.remote") and not dvc("push"):
        raise SystemExit(f"`uv run dvc push` failed, so no pull request was opened. {BACK}")
    git("add", "--all")
    git("branch", branch, git("commit-tree", git("write-tree"), "-p", "HEAD", given=message))
    git("reset", "--quiet", "--hard")
    dvc("checkout")


def publish(branch: str, base: str) -> str:
    """Push a branch and open a pull request with its commit message; return the address.

    Raises:
        SystemExit: git or gh fails.
    """
    git(*LOGIN, "push", "--quiet", "origin", branch)
    title, body = (git("log", "-1", f"--format={part}", branch) for part in ("%s", "%b"))
    where = ("--head", branch, "--base", base, "--title", title, "--body-file", "-")
    try:
        return gh("create", *where, given=body)
    except SystemExit as error:
        raise SystemExit(f"{branch} is pushed, but has no pull request. {error}") from None
