"""Made-up data: sounds of a workshop, several at once. Delete it once you have data."""

import io
import wave
from collections.abc import Iterator

import numpy as np

from ..examples import Example
from ..problem.answer import Answer, write
from .features import SAMPLE_RATE_HZ

SOUNDS = {"alarm": 0.4, "drill": 0.35, "knock": 0.45}  # probability of each sound
HALLS = {"small": (0.05, 0.3), "large": (0.3, 0.8)}  # loudness of noise, relative to a sound


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` WAV examples with the sounds in each, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        hall = sorted(HALLS)[int(rng.integers(2))]
        sounds = [sound for sound, share in SOUNDS.items() if rng.random() < share]
        samples = int(rng.uniform(0.9, 1.1) * SAMPLE_RATE_HZ)
        softest, loudest = HALLS[hall]
        level = np.exp(rng.uniform(np.log(softest), np.log(loudest)))
        clip = level * rng.normal(0, 1, samples)
        for sound in sounds:
            clip += rng.uniform(0.7, 1.4) * MAKERS[sound](rng, samples)
        gain = min(rng.uniform(0.03, 0.1), 1 / np.abs(clip).max())
        label = write(Answer(labels=sounds))
        yield Example(f"sample-{seed}-{i:05}", _wav(clip * gain), label, hall)


def _alarm(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return a tone that is switched on and off: (samples,), loudness about 1."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    pitch_hz, beeps_hz = rng.uniform(1800, 3200), rng.uniform(2.5, 5)
    is_on = (time_s * beeps_hz + rng.uniform()) % 1 < 0.5
    tone: np.ndarray = np.sqrt(2) * np.sin(2 * np.pi * pitch_hz * time_s + rng.uniform(0, 6.3))
    return tone * is_on


def _drill(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return the harmonics of a motor, with a slight wobble: (samples,), loudness about 1."""
    wobble = 1 + 0.003 * np.cumsum(rng.normal(0, 1, samples)) / np.sqrt(samples)
    turns = np.cumsum(wobble * rng.uniform(180, 400) / SAMPLE_RATE_HZ)
    sound = np.zeros(samples)
    for harmonic in range(1, 5):
        loudness = rng.uniform(0.5, 1.0) / harmonic
        sound += loudness * np.sin(2 * np.pi * harmonic * turns + rng.uniform(0, 6.3))
    normal: np.ndarray = sound / sound.std()
    return normal


def _knock(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return two to four short bursts: (samples,), louder than the other sounds while they last."""
    sound = np.zeros(samples)
    length = int(0.05 * SAMPLE_RATE_HZ)
    fade = np.exp(-np.arange(length) / (0.012 * SAMPLE_RATE_HZ))
    for start in rng.integers(0, samples - length, int(rng.integers(2, 5))):
        sound[start : start + length] += 4 * fade * rng.normal(0, 1, length)
    return sound


MAKERS = {"alarm": _alarm, "drill": _drill, "knock": _knock}


def _wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as clip:
        clip.setparams((1, 2, SAMPLE_RATE_HZ, len(sound), "NONE", ""))
        clip.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
