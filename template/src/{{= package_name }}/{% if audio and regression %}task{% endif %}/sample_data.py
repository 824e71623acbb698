"""Made-up data: motors at different speeds in two halls. Delete it once you have data."""

import io
import wave
from collections.abc import Iterator

import numpy as np

from ..examples import Example
from .features import SAMPLE_RATE_HZ

SLOWEST_RPM, FASTEST_RPM = 900, 3600
BLADES = 7  # of the fan: the sound that is heard most has this many times the speed
HALLS = {"small": (0.05, 0.3), "large": (0.4, 1.2)}  # loudness of noise, relative to the motor


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` WAV examples with the speed of the motor in rpm, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        hall = sorted(HALLS)[int(rng.integers(2))]
        rpm = float(rng.uniform(SLOWEST_RPM, FASTEST_RPM))
        clip = _motor(rng, rpm, int(rng.uniform(1.0, 1.3) * SAMPLE_RATE_HZ))
        quietest, loudest = HALLS[hall]
        level = np.exp(rng.uniform(np.log(quietest), np.log(loudest)))
        clip = clip / clip.std() + level * rng.normal(0, 1, len(clip))
        gain = rng.uniform(0.03, 0.1)
        yield Example(f"sample-{seed}-{i:05}", _wav(clip * gain), f"{rpm:.1f}", hall)


def _motor(rng: np.random.Generator, rpm: float, samples: int) -> np.ndarray:
    """Return the hum of a fan: harmonics of the blade frequency, with a slight wobble."""
    wobble = 1 + 0.003 * np.cumsum(rng.normal(0, 1, samples)) / np.sqrt(samples)
    turns = np.cumsum(wobble * rpm / 60 / SAMPLE_RATE_HZ)
    sound = np.zeros(samples)
    for harmonic in range(1, 5):
        loudness = rng.uniform(0.5, 1.0) / harmonic
        sound += loudness * np.sin(2 * np.pi * BLADES * harmonic * turns + rng.uniform(0, 6.3))
    return sound


def _wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as clip:
        clip.setparams((1, 2, SAMPLE_RATE_HZ, len(sound), "NONE", ""))
        clip.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
