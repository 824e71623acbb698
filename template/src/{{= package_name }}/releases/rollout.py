"""The commands that choose the release in use: `challenge`, `promote`, `rollback`, `restore`.

Each replaces `releases/rollout.json` and signs it. The releases themselves never change.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from ..monitoring.scrape import read_metric
from ..scope import load_scope
from .registry import (
    RELEASES,
    Rollout,
    UnfitRelease,
    read_rollout,
    verify_release,
    write_rollout,
)


@contextmanager
def sole_writer() -> Iterator[None]:
    """Lock `releases/`, so that only one process changes it.

    The kernel releases the lock when the process ends, even if it is killed. The next process
    deletes the incomplete files of a killed one.

    Raises:
        SystemExit: the block raised UnfitRelease.
    """
    RELEASES.mkdir(exist_ok=True)
    with (RELEASES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        except UnfitRelease as unfit:
            raise SystemExit(str(unfit)) from None
        finally:
            for draft in RELEASES.glob(".part-*"):
                if draft.is_dir():
                    shutil.rmtree(draft)
                else:
                    draft.unlink()


def challenge(id: str) -> None:
    """Run a release next to the champion.

    Raises:
        SystemExit: the release does not exist, is unfit, or is the champion.
    """
    with sole_writer():
        rollout = read_rollout()
        challenger = verify_release(id)
        if id == rollout.champion:
            raise SystemExit(f"{id} ({challenger.name}) is the champion already.")
        write_rollout(rollout.model_copy(update={"challenger": id}))
        print(f"Challenger: {id} ({challenger.name}). Next, once you trust it: `make promote`")


def promote() -> None:
    """Make the challenger the champion. `rollback` reverts this.

    Raises:
        SystemExit: there is no challenger, it is unfit, or it does not get all requests yet.
    """
    with sole_writer():
        rollout = read_rollout()
        if rollout.challenger is None:
            raise SystemExit("There is no challenger. Run `make challenge RELEASE=id` first.")
        # With rules for challengers, traffic moves to the challenger in steps; the last one is 1.
        if getattr(load_scope(), "challenger", None):
            share = read_metric("challenger_share_ratio", "release").get(rollout.challenger, 0)
            if share < 1:
                wrong = f"{rollout.challenger} serves {share:.0%} of the requests, not yet all"
                raise SystemExit(f"{wrong}. What to do: docs/runbook/server.md#challenger")
        champion = verify_release(rollout.challenger)
        write_rollout(Rollout(champion=champion.id, previous=rollout.champion))
        print(f"Champion: {champion.id} ({champion.name}). To revert: `make rollback`")


def rollback() -> None:
    """Make the previous champion the champion again. A second call changes nothing.

    It clears `previous`: if two people on call run it, the second run must not restore the release
    that both wanted to withdraw.

    Raises:
        SystemExit: there is no previous champion, or it is unfit.
    """
    with sole_writer():
        rollout = read_rollout()
        if rollout.previous:
            champion = verify_release(rollout.previous)
            withdrawn = rollout.champion
            challenger = None if rollout.challenger == champion.id else rollout.challenger
            write_rollout(Rollout(champion=champion.id, challenger=challenger, withdrawn=withdrawn))
            print(f"Champion: {champion.id} ({champion.name}). Withdrawn: {withdrawn}.")
        elif rollout.withdrawn:
            done = f"done already: {rollout.withdrawn} was withdrawn earlier"
            print(f"Champion: {rollout.champion}, {done}.")
        else:
            raise SystemExit(f"{rollout.champion} is the first champion: there is no previous one.")


def restore(id: str) -> None:
    """Make a release the champion, whatever `rollout.json` says.

    For a file that is lost, damaged, or not signed, because it was written before version 0.5.0.

    Raises:
        SystemExit: the release does not exist, or is unfit.
    """
    with sole_writer():
        champion = verify_release(id)
        write_rollout(Rollout(champion=champion.id))
        print(f"Champion: {champion.id} ({champion.name}). There is no challenger and no previous.")
