"""Send normal and shifted traffic through `Predictor` and `Monitor`, and record the signals.

Writes a .npz file: `usual/SIGNAL` are the values that the reference was fitted to, `CASE/SIGNAL`
those of the live windows. Prints one line of JSON: microseconds, kilobytes per window, and for each
case [accuracy, estimated accuracy without labels].
"""

import io
import json
import sys
import time
import tracemalloc
import wave
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np

PACKAGE, OUT, N = sys.argv[1], sys.argv[2], int(sys.argv[3])
MODULES = (
    "pipeline.evaluate",
    "pipeline.reference",
    "monitoring.live",
    "predictor",
    "problem.answer",
    "refusal",
    "scope",
    "task.sample_data",
)
evaluate, fitting, monitor, predictor, answers, refusal, scope, sample = (
    import_module(f"{PACKAGE}.{name}") for name in MODULES
)
SEED = 1000  # of the traffic; the model was trained on seed 0
ROUNDS, TIMES = 300, 20
Payload = Callable[[bytes, np.random.Generator], bytes]
Signals = dict[str, np.ndarray]


def pixels(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Payload:
    """Change an image by its grey levels, float64 (height, width, 3)."""
    from PIL import Image

    def changed(payload: bytes, rng: np.random.Generator) -> bytes:
        image, out = np.asarray(Image.open(io.BytesIO(payload)), np.float64), io.BytesIO()
        shown = change(image, rng).round().clip(0, 255).astype(np.uint8)
        Image.fromarray(shown).save(out, "PNG", compress_level=1)
        return out.getvalue()

    return changed


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blend 10 % of each of the four neighbours into every pixel."""
    around = sum(np.roll(image, step, axis) for step in (-1, 1) for axis in (0, 1))
    return 0.6 * image + 0.1 * around


def sound(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Payload:
    """Change a clip by its samples, float64 (samples,), -32768 to 32767."""

    def changed(payload: bytes, rng: np.random.Generator) -> bytes:
        with wave.open(io.BytesIO(payload)) as clip:
            params, data = clip.getparams(), clip.readframes(clip.getnframes())
        louder = change(np.frombuffer(data, "<i2").astype(np.float64), rng)
        out = io.BytesIO()
        with wave.open(out, "wb") as clip:
            clip.setparams(params)
            clip.writeframes(louder.round().clip(-32768, 32767).astype("<i2").tobytes())
        return out.getvalue()

    return changed


def row(change: Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]) -> Payload:
    """Change some columns of a row."""

    def changed(payload: bytes, rng: np.random.Generator) -> bytes:
        values = json.loads(payload)
        return json.dumps(values | change(values, rng)).encode()

    return changed


SHIFTS: dict[str, dict[str, Payload]] = {
    "image": {
        "brightness +2 %": pixels(lambda image, _: image + 5),
        "noise sd 4 to 4.5": pixels(lambda x, rng: x + rng.normal(0, 2, (*x.shape[:2], 1))),
        "blur": pixels(blur),
    },
    "audio": {
        "gain -1.5 dB": sound(lambda x, _: x * 10 ** (-1.5 / 20)),
        "noise": sound(lambda x, rng: x + rng.normal(0, 0.3 * x.std(), len(x))),
    },
    "tabular": {
        "mean +0.25 sd": row(lambda r, _: {"hour": r["hour"] + 1.5}),
        "scale x1.3": row(lambda r, _: {"hour": max(0.0, 13 + 1.3 * (r["hour"] - 13))}),
        "category mix": row(lambda _, rng: {"merchant": "travel"} if rng.random() < 0.12 else {}),
    },
}


SPOILED: dict[str, tuple[str, Payload]] = {  # strong enough to make many predictions wrong
    "image": ("noise sd 4 to 20", pixels(lambda x, rng: x + rng.normal(0, 20, (*x.shape[:2], 1)))),
    "audio": ("noise as loud", sound(lambda x, rng: x + rng.normal(0, x.std(), len(x)))),
    "tabular": (
        "two columns swapped",
        row(
            lambda r, _: {"amount_usd": r["usual_amount_usd"], "usual_amount_usd": r["amount_usd"]}
        ),
    ),
}


class Recorder:
    """Replaces the live window and records its values."""

    def __init__(self, reference: Any) -> None:
        self.reference, self.values = reference, dict[str, list[float]]()

    def add(self, values: dict[str, Any], n: int) -> None:
        """Record the signals of n predictions."""
        for name, of_each in values.items():
            self.values.setdefault(name, []).extend(of_each)


def record_case(case: str, examples: Iterable[Any], change: Payload | None = None) -> Signals:
    """Predict payloads like a server, which also rejects those that violate the contract."""
    watch, right = monitor.Monitor(model), []
    reference = watch.window.reference
    recorder = watch._window = Recorder(reference)
    for example in examples:
        payload = change(example.payload, rng) if change else example.payload
        try:
            prediction = model.predict(payload)
        except refusal.Refusal:
            continue
        watch.observe(prediction)
        right.append(prediction.answer["label"] == example.label)
    assert watch.window is recorder  # counts what is pending
    found = {name: np.array(recorder.values[name]) for name in reference.signals}
    estimate = np.mean(found["confidence"] >= reference.sure_from)
    accuracy[case] = [float(np.mean(right)), float(estimate)]
    return found


def us(*actions: Callable[[], object]) -> list[float]:
    """Time actions in turns; return the microseconds of the fastest round of each."""
    found: list[list[float]] = [[] for _ in actions]
    for _ in range(ROUNDS):
        for action, times in zip(actions, found, strict=True):
            start = time.perf_counter()
            for _ in range(TIMES):
                action()
            times.append(1e6 * (time.perf_counter() - start) / TIMES)
    return [min(times) for times in found]


def speed(payload: bytes) -> dict[str, float]:
    """Time what monitoring adds to a request, and a scrape with a full window."""
    watch, prepared = monitor.Monitor(model), predictor.prepare(payload)
    watch.show()
    x, prediction = prepared.x[None], model.predict(payload)
    tracemalloc.start()
    for _ in range(watch.window.reference.window):
        watch.observe(prediction)
    held_kb = tracemalloc.get_traced_memory()[0] / 1000
    tracemalloc.stop()
    gauges = monitor.DRIFT, monitor.FILL, monitor.ESTIMATED
    probabilities, session = model.outputs(x), model._session
    both, logits, doubt, observe, scrape = us(
        lambda: session.run(["logits", "embedding"], {"x": x}),
        lambda: session.run(["logits"], {"x": x}),
        lambda: answers.signals(probabilities, model.head),
        lambda: watch.observe(prediction),
        lambda: [list(gauge.collect()) for gauge in gauges],
    )
    request = both - logits + doubt + observe
    parts = {"embedding_us": both - logits, "entropy_us": doubt, "observe_us": observe}
    return parts | {"request_us": request, "scrape_us": scrape, "window_kb": held_kb}


usual = {}
fit = fitting.fit_reference
fitting.fit_reference = lambda values, *rest: usual.update(values) or fit(values, *rest)
evaluate.evaluate()
model, rng = predictor.Predictor(), np.random.default_rng(SEED)
examples, accuracy = list(sample.sample_examples(N, seed=SEED)), dict[str, list[float]]()
modality = scope.load_scope().modality
cases = {"none": record_case("none", examples)}
for name, change in SHIFTS[modality].items():
    cases[name] = record_case(name, examples[: N // 2], change)
common = examples[0].label  # drop a third of the examples with other labels
cases["prior"] = record_case(
    "prior", [e for e in examples if e.label == common or rng.random() < 2 / 3]
)
if modality == "tabular":  # the contract rejects missing values, so plant them in the signals
    facts = {name: values.copy() for name, values in cases["none"].items()}
    facts["amount_usd"][rng.random(N) < 0.04] = np.nan
    cases["missing 0 to 4 %"] = facts
name, change = SPOILED[modality]
record_case(name, examples[: N // 2], change)
kept = {"usual": usual} | cases
np.savez(OUT, **{f"{c}/{name}": v for c, found in kept.items() for name, v in found.items()})
print("\n" + json.dumps(speed(examples[0].payload) | {"accuracy": accuracy}))
