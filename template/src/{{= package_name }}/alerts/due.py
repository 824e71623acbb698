"""When a candidate is worth its training: not at the first alert, and not at a flicker."""

from ..refusal import Refusal
from ..scope import Watch
from .rules import Rule, alert


def retrain_due(watch: Watch, kind: str, *names: str) -> Rule:
    """Return the rule that asks for a candidate: alerts of these names fired for hours.

    Hours are added up over the last `retrain_of_h`, so that one alert that comes and goes counts
    like one that stays, and a short one starts no training.

    Raises:
        Refusal: it could never fire.
    """
    after_h, of_h = watch.retrain_after_h, watch.retrain_of_h
    if after_h > of_h:
        rule = f"at most retrain_of_h, which is {of_h}"
        raise Refusal("watch.retrain_after_h", after_h, rule, of_h)
    firing = f'ALERTS{{alertstate="firing", alertname=~"{"|".join(names)}"}}'
    return alert(
        "RetrainDue",
        f"avg_over_time((clamp_max(count(\n{firing}\n"
        f"), 1) or vector(0))[{of_h}h:5m]) >= {after_h} / {of_h}",
        "ticket",
        f"Alerts about the model fired in {after_h} of the last {of_h} hours.",
        "retrain-due",
        kind=kind,
    )
