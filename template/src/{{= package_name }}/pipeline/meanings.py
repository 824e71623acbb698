"""The meaning of each gate, in one sentence for people who did not build the model."""

from typing import NamedTuple

from ..problem import words
from ..scope import load_scope


class Meaning(NamedTuple):
    """The part of the project that a gate is about, what it means, and the unit of its limit."""

    part: str
    sentence: str
    unit: str = ""


QUALITY = "Quality on held-out examples"
USE = "Speed, size and cost"
FILE = "Model file"
DATA = "Data"
OTHER = "Other limits"
PARTS = (QUALITY, USE, FILE, DATA, OTHER)  # as on the page

# By the id of the gate. An id with a place or a file format matches the longest entry it contains.
MEANINGS = {id: Meaning(QUALITY, sentence) for id, sentence in words.MEANINGS.items()} | {
    "contract": Meaning(DATA, "Every example satisfies the input contract."),
    "split_labels": Meaning(DATA, words.MEANINGS["split_labels"]),
    "leakage": Meaning(DATA, "No input is in two splits: the model is tested on unseen inputs."),
    "near_copies": Meaning(
        DATA, "The share of held-out inputs that are in another split too, slightly changed."
    ),
    "label_conflicts": Meaning(DATA, words.MEANINGS["label_conflicts"]),
    "repeated_ids": Meaning(DATA, "No two examples share an id."),
    "worst_slice": Meaning(
        QUALITY, "The same bound for the weakest slice. All slices are listed below."
    ),
    "baseline_shipped": Meaning(
        QUALITY,
        "No other model is better by min_gain_over_baseline: the linear baseline is shipped.",
    ),
    "finite_weights": Meaning(FILE, "All weights of the exported model are finite numbers."),
    "finite_answers": Meaning(FILE, words.MEANINGS["finite_answers"]),
    "onnx_parity": Meaning(FILE, words.MEANINGS["onnx_parity"]),
    "int8_parity": Meaning(
        FILE, "The share of predictions that compressing the model did not change."
    ),
    "int8_drop": Meaning(FILE, words.MEANINGS["int8_drop"]),
    "batch_parity": Meaning(FILE, words.MEANINGS["batch_parity"]),
    "parity": Meaning(FILE, words.MEANINGS["parity"]),
    "latency_p95_network": Meaning(
        USE, "95 of 100 runs of the network alone take at most this long.", "ms"
    ),
    "latency_p95": Meaning(
        USE, "95 of 100 predictions take at most this long, decoding included.", "ms"
    ),
    "failures": Meaning(USE, "Every request of the benchmark got a prediction."),
    "model_size": Meaning(USE, "The size of the file that is shipped.", "MB"),
    "cost": Meaning(
        USE,
        "Running it at peak traffic, at the prices in prices.yaml. Training, labelling and people"
        " are not included.",
        "USD per month",
    ),
    "build_or_buy": Meaning(
        USE, "Running it costs no more than buying the same service.", "USD per month"
    ),
}


def meaning_of(gate_id: str) -> Meaning:
    """Return the meaning of a gate; its sentence is empty if the gate is not listed."""
    padded = f"_{gate_id}_"
    known = [id for id in MEANINGS if padded.startswith(f"_{id}_") or padded.endswith(f"_{id}_")]
    if not known:
        return Meaning(OTHER, "")
    meaning = MEANINGS[max(known, key=len)]
    scope = load_scope()
    sentence = meaning.sentence.format(
        confidence=f"{100 * scope.confidence:g} %",
        metric=scope.metric,
        baseline=scope.baseline,
    )
    return meaning._replace(sentence=sentence, unit=meaning.unit or words.unit(gate_id, scope))
