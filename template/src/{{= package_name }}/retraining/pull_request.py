"""Branches of candidates in git, and their pull requests on GitHub by its command line, gh."""

import json
import os
import subprocess
import sys
from typing import Any

PREFIX = "retrain/"
DVC = (sys.executable, "-m", "dvc")
# git asks gh for the credential: the token is on no command line and in no file.
LOGIN = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")
BACK = "To go back: `git stash --include-untracked`, then `uv run dvc checkout`."
NO_GH = """gh, the command line of GitHub, is missing: https://cli.github.com.
Without GITHUB_TOKEN, `make retrain` leaves the branch on this machine instead."""
NEEDS = """If that is about permissions: the job needs `pull-requests: write` and
`contents: write`, and the repository needs the setting "Allow GitHub Actions to create and
approve pull requests" (Settings, Actions, General)."""


def git(*arguments: str, given: str = "") -> str:
    """Return what git prints.

    Raises:
        SystemExit: it fails; its words are repeated.
    """
    result = _run("git", *arguments, given=given)
    if result.returncode:
        raise SystemExit(f"git {' '.join(arguments[-3:])}: {result.stderr.strip()}")
    return result.stdout.strip()


def gh(*arguments: str, given: str = "") -> str:
    """Return what `gh pr` prints about the repository of this job.

    Raises:
        SystemExit: gh is missing, or GitHub refuses; its words are repeated.
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
        # gh takes the second for a GitHub server of one's own (GITHUB_SERVER_URL).
        env |= {"GH_TOKEN": token, "GH_ENTERPRISE_TOKEN": token}
    return subprocess.run(command, input=given, capture_output=True, text=True, env=env)  # noqa: S603


def dvc(*arguments: str) -> bool:
    """Run DVC; return whether it succeeded."""
    command = [*DVC, *arguments, "--quiet"]
    return subprocess.run(command, capture_output=True).returncode == 0  # noqa: S603


def is_on_github() -> bool:
    """Return whether the variables are set that GitHub's workflows have."""
    return bool(os.environ.get("GITHUB_TOKEN") and os.environ.get("GITHUB_REPOSITORY"))


def name_branches() -> tuple[str, str]:
    """Return the branch that is checked out, and the one for a candidate that starts from here.

    That one is named after the commit, because a training depends on nothing else.

    Raises:
        SystemExit: something is not committed, or no branch is checked out.
    """
    if changed := git("status", "--porcelain"):
        raise SystemExit(f"A candidate is made of what is committed. Commit or stash:\n{changed}")
    if not (base := git("branch", "--show-current")):
        raise SystemExit("No branch is checked out: `git switch` to the one to merge into.")
    return base, PREFIX + git("rev-parse", "--short=12", "HEAD")


def already_proposed(branch: str) -> bool:
    """Return whether any candidate has an open pull request, or this one has a closed one."""
    for pull in _pulls("--state", "open"):
        if pull["headRefName"].startswith(PREFIX):
            print(f"{pull['url']} is open: merge or close it first.")
            return True
    for pull in _pulls("--state", "closed", "--head", branch):
        print(f"{pull['url']} is {pull['state'].lower()}: nothing was committed since then.")
        return True
    return False


def _pulls(*options: str) -> list[dict[str, Any]]:
    """List pull requests from branches of this repository, not of forks."""
    fields = "headRefName,isCrossRepository,state,url"
    # 200 is more than a person reviews; without a limit, gh returns 30.
    found = json.loads(gh("list", *options, "--limit", "200", "--json", fields))
    return [pull for pull in found if not pull["isCrossRepository"]]


def already_failed(branch: str) -> bool:
    """Return whether an earlier job rejected the candidate of this commit."""
    if found := git(*LOGIN, "ls-remote", "origin", _tag(branch)):
        print(f"{found.split()[1]}: this candidate was rejected, and nothing was committed since.")
    return bool(found)


def remember_failure(branch: str) -> None:
    """On GitHub, tag the commit, so that later jobs do not train the same candidate again."""
    if is_on_github():
        git(*LOGIN, "push", "--quiet", "--force", "origin", f"HEAD:{_tag(branch)}")


def _tag(branch: str) -> str:
    return f"refs/tags/tried/{branch.removeprefix(PREFIX)}"


def branch_exists(branch: str) -> bool:
    """Return whether an earlier run left this branch here, or where it pushed it to; fetch it."""
    if git("branch", "--list", branch):
        return True
    if not (is_on_github() and git(*LOGIN, "ls-remote", "origin", f"refs/heads/{branch}")):
        return False
    git(*LOGIN, "fetch", "--quiet", "origin", f"{branch}:{branch}")
    return True


def commit(branch: str, message: str, share: bool) -> None:
    """Commit all changes to a new branch, and leave everything else as it was before.

    HEAD never moves: the user stays on their branch.

    Raises:
        SystemExit: git fails, or DVC cannot push what is to be shared.
    """
    if share and dvc("config", "core.remote") and not dvc("push"):
        raise SystemExit(f"`uv run dvc push` fails: nothing is opened. {BACK}")
    git("add", "--all")
    git("branch", branch, git("commit-tree", git("write-tree"), "-p", "HEAD", given=message))
    git("reset", "--quiet", "--hard")
    dvc("checkout")


def publish(branch: str, base: str) -> str:
    """Push a branch and open the pull request that its commit describes; return its address.

    Raises:
        SystemExit: git or GitHub refuses.
    """
    git(*LOGIN, "push", "--quiet", "origin", branch)
    title, body = (git("log", "-1", f"--format={part}", branch) for part in ("%s", "%b"))
    where = ("--head", branch, "--base", base, "--title", title, "--body-file", "-")
    try:
        return gh("create", *where, given=body)
    except SystemExit as error:
        raise SystemExit(f"{branch} is pushed, but has no pull request. {error}") from None
