"""Commands of retraining."""

COMMANDS = {
    "retrain": (
        "retraining.retrain",
        "Train and propose a candidate if one is due, or for REASON",
        "REASON",
    ),
}
