"""Which release is in use: one small file, replaced at once; a rollback changes nothing else."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from ..monitoring.scrape import read_metric
from ..scope import load_scope
from .registry import RELEASES, Rollout, Unfit, read_rollout, verified, write_rollout


@contextmanager
def sole_writer() -> Iterator[None]:
    """Let one process at a time change what is released, and refuse what is unfit.

    The lock ends with its process, however that ends; what such a process left half done goes.
    """
    RELEASES.mkdir(exist_ok=True)
    with (RELEASES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        except Unfit as unfit:
            raise SystemExit(str(unfit)) from None
        finally:
            for draft in RELEASES.glob(".part-*"):
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()


def challenge(id: str) -> None:
    """Let a release run beside the champion.

    Raises:
        SystemExit: there is no such release, it is unfit, or it is the champion.
    """
    with sole_writer():
        now, challenger = read_rollout(), verified(id)
        if id == now.champion:
            raise SystemExit(f"{id} ({challenger.name}) is the champion already.")
        write_rollout(now.model_copy(update={"challenger": id}))
        print(f"Challenger: {id} ({challenger.name}). Next: `make promote`, once it is trusted")


def promote() -> None:
    """Make the challenger the champion; the champion so far is where a rollback leads.

    Raises:
        SystemExit: there is no challenger, it is unfit, or no server trusts it with all requests.
    """
    with sole_writer():
        now = read_rollout()
        if now.challenger is None:
            raise SystemExit("There is no challenger. Run `make challenge RELEASE=id` first.")
        if load_scope().challenger:
            share = read_metric("challenger_share_ratio", "release").get(now.challenger, 0)
            if share < 1:
                found = f"{now.challenger} answers {share:.0%} of the requests, not all of them"
                raise SystemExit(f"{found}. What to do: docs/runbook.md#challenger")
        champion = verified(now.challenger)
        write_rollout(Rollout(champion=champion.id, previous=now.champion))
        print(f"Champion: {champion.id} ({champion.name}). Back: `make rollback`")


def rollback() -> None:
    """Make the champion before this one the champion again; a second time, change nothing.

    Raises:
        SystemExit: there was none before, or it is unfit and this one stays.
    """
    with sole_writer():
        now = read_rollout()
        if now.previous:
            champion = verified(now.previous)
            challenger = now.challenger if now.challenger != champion.id else None
            withdrawn = now.champion
            write_rollout(Rollout(champion=champion.id, challenger=challenger, withdrawn=withdrawn))
            print(f"Champion: {champion.id} ({champion.name}), instead of {withdrawn}.")
        elif now.withdrawn:
            print(f"Champion: {now.champion}, done already: {now.withdrawn} was withdrawn before.")
        else:
            raise SystemExit(f"{now.champion} is the first champion: nothing to go back to.")
