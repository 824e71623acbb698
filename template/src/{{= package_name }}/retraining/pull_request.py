"""A candidate in git: a branch of its own, and the pull request for it."""

import os
import subprocess
import sys

from .ask import has_github, pulls

PREFIX = "retrain/"
DVC = (sys.executable, "-m", "dvc")
# git asks this for what it logs in with: the token is on no command line, and in no file.
HELPER = '!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f'
LOGIN = ("-c", "credential.helper=", "-c", f"credential.helper={HELPER}")
BACK = "To go back: `git stash --include-untracked`, then `uv run dvc checkout`."


def git(*arguments: str, given: str = "") -> str:
    """Return what git prints.

    Raises:
        SystemExit: it fails; its words are repeated.
    """
    command = ["git", *arguments]
    result = subprocess.run(command, input=given, capture_output=True, text=True)  # noqa: S603
    if result.returncode:
        raise SystemExit(f"git {' '.join(arguments[-3:])}: {result.stderr.strip()}")
    return result.stdout.strip()


def dvc(*arguments: str) -> bool:
    """Run DVC, and tell whether it succeeded."""
    command = [*DVC, *arguments, "--quiet"]
    return subprocess.run(command, capture_output=True).returncode == 0  # noqa: S603


def start() -> tuple[str, str]:
    """Return the branch that is checked out, and the one for a candidate that starts from here.

    That one is named after the commit, which says all that a training depends on.

    Raises:
        SystemExit: something is not committed, or no branch is checked out.
    """
    if changed := git("status", "--porcelain"):
        raise SystemExit(f"A candidate is made of what is committed. Commit or stash:\n{changed}")
    if not (base := git("branch", "--show-current")):
        raise SystemExit("No branch is checked out: `git switch` to the one to merge into.")
    return base, PREFIX + git("rev-parse", "--short=12", "HEAD")


def is_judged(branch: str) -> bool:
    """Tell whether a candidate waits for a person, or this one was judged already; say where."""
    ours = os.environ["GITHUB_REPOSITORY"].partition("/")[0] + ":"  # not of a fork
    opened = pulls(state="open")
    waiting = [one for one in opened if one["head"]["label"].startswith(ours + PREFIX)]
    for one in waiting or pulls(state="closed", head=ours + branch):
        todo = "merge or close it first" if waiting else "nothing was committed since then"
        print(f"{one['html_url']} is {one['state']}: {todo}.")
        return True
    return False


def is_tried(branch: str) -> bool:
    """Tell whether nothing came of the candidate of this commit, in the job of an earlier hour."""
    if found := git(*LOGIN, "ls-remote", "origin", _tag(branch)):
        print(f"{found.split()[1]}: nothing came of it, and nothing was committed since then.")
    return bool(found)


def remember(branch: str) -> None:
    """On GitHub, let the jobs of the next hours know, by a tag, that nothing came of it."""
    if has_github():
        git(*LOGIN, "push", "--quiet", "--force", "origin", f"HEAD:{_tag(branch)}")


def _tag(branch: str) -> str:
    return f"refs/tags/tried/{branch.removeprefix(PREFIX)}"


def is_made(branch: str) -> bool:
    """Tell whether an earlier run left this branch, here or where it pushed it to."""
    if git("branch", "--list", branch):
        return True
    if not (has_github() and git(*LOGIN, "ls-remote", "origin", f"refs/heads/{branch}")):
        return False
    git(*LOGIN, "fetch", "--quiet", "origin", f"{branch}:{branch}")
    return True


def commit(branch: str, message: str, share: bool) -> None:
    """Make a branch of all that changed, and leave everything else as it was before.

    HEAD never moves: nobody is left on a branch that is not theirs.

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
    """Push a branch and open the pull request that its commit describes; return where that is.

    Raises:
        SystemExit: git or GitHub refuses.
    """
    git(*LOGIN, "push", "--quiet", "origin", branch)
    title, body = (git("log", "-1", f"--format={part}", branch) for part in ("%s", "%b"))
    try:
        opened = pulls({"title": title, "body": body, "head": branch, "base": base})
    except SystemExit as error:
        raise SystemExit(f"{branch} is pushed, but has no pull request. {error}") from None
    return str(opened["html_url"])
