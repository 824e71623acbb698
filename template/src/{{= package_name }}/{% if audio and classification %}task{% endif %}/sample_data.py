"""Made-up data: synthetic speakers say four words in two rooms. Delete it once you have data."""

import io
import wave
from collections.abc import Iterator

import numpy as np

from ..examples import Example
from .features import SAMPLE_RATE_HZ

WINDOW, HOP = 256, 128  # samples; 16 ms, in which speech hardly changes
SOUNDS = {  # ms; levels of voice and hiss; first formant, second formant, centre of the hiss in Hz
    "-": (45, 0.0, 0.0, 450, 1300, 3000),
    "e": (130, 1.0, 0.0, 550, 1850, 5000),
    "g": (20, 0.1, 0.6, 300, 1300, 1900),
    "n": (60, 0.5, 0.0, 270, 1150, 1900),
    "o": (140, 1.0, 0.0, 690, 1100, 3000),
    "O": (150, 1.0, 0.0, 520, 950, 1900),
    "p": (20, 0.0, 0.4, 600, 900, 1000),
    "s": (130, 0.0, 0.5, 450, 1600, 5800),
    "t": (20, 0.0, 0.9, 450, 1600, 4200),
    "u": (90, 0.7, 0.0, 370, 800, 1900),
    "y": (70, 0.8, 0.0, 280, 2250, 5000),
}
WORDS = {"go": "-gOu", "no": "nOu", "silence": "", "stop": "s-to-p", "yes": "yes"}
ROOMS = {"quiet": (0.05, 0.3), "noisy": (0.8, 2.5)}  # loudness of noise, relative to speech


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` WAV examples with balanced labels, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        label = sorted(WORDS)[i % len(WORDS)]
        room = sorted(ROOMS)[int(rng.integers(2))]
        clip = _noise(rng, int(rng.uniform(0.8, 1.2) * SAMPLE_RATE_HZ), *ROOMS[room])
        if sounds := WORDS[label]:
            word = _word(rng, sounds)
            onset = int(rng.integers(len(clip) - len(word)))
            clip[onset : onset + len(word)] += word
        gain = min(rng.uniform(0.03, 0.1), 1 / np.abs(clip).max())
        yield Example(f"sample-{seed}-{i:05}", _wav(clip * gain), label, room)


def _word(rng: np.random.Generator, sounds: str) -> np.ndarray:
    """Filter pulses and hiss with the formants of a random speaker: (samples,), loudness 1.

    Source and filter as in Fant 1960, "Acoustic theory of speech production".
    """
    pace, tract, pitch_hz = rng.uniform(0.8, 1.3), rng.uniform(0.85, 1.2), rng.uniform(85, 250)
    speaker = rng.normal(1, 0.1, (len(sounds), 6)) * [pace, 1, 1, tract, tract, tract]
    lengths_ms, *rows = (speaker * [SOUNDS[sound] for sound in sounds]).T
    held_ms = np.cumsum(lengths_ms)[:, None] - lengths_ms[:, None] * [0.8, 0.2]
    times_ms = np.arange(0, held_ms.max() + 50, 1000 * HOP / SAMPLE_RATE_HZ)
    tracks = [np.interp(times_ms, held_ms.ravel(), np.repeat(row, 2)) for row in rows]
    voice, hiss, first_hz, second_hz, hiss_hz = (track[:, None] for track in tracks)
    sinking_hz = np.linspace(1.1, rng.uniform(0.7, 1), (len(times_ms) + 1) * HOP) * pitch_hz
    pulses = np.exp(150 * (np.cos(2 * np.pi * np.cumsum(sinking_hz) / SAMPLE_RATE_HZ) - 1))
    voice = voice * (_peak(first_hz, 90) + 0.6 * _peak(second_hz, 130))
    spectra = voice * _spectra(pulses / pulses.std())
    spectra += hiss * _peak(hiss_hz, 1200) * _spectra(rng.normal(0, 1, len(pulses)))
    early, late = np.split(np.fft.irfft(spectra), 2, axis=1)  # overlap-add
    word: np.ndarray = np.append(early, np.zeros(HOP)) + np.append(np.zeros(HOP), late)
    word /= word.std()
    return word


def _peak(centre_hz: np.ndarray, width_hz: float) -> np.ndarray:
    """Return the gain of a resonance at each frequency: (frames, WINDOW // 2 + 1)."""
    away_hz: np.ndarray = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ) - centre_hz
    return 1 / (1 + (away_hz / width_hz) ** 2)


def _spectra(sound: np.ndarray) -> np.ndarray:
    """Return the spectra of half-overlapping frames: complex (frames, WINDOW // 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    return np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])


def _noise(rng: np.random.Generator, samples: int, softest: float, loudest: float) -> np.ndarray:
    """Return noise of random loudness and colour: float64 (samples,)."""
    white = rng.normal(0, 1, samples + 1)
    noise: np.ndarray = white[1:] + rng.uniform(-0.3, 0.9) * white[:-1]
    noise *= np.exp(rng.uniform(np.log(softest), np.log(loudest))) / noise.std()
    return noise


def _wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as clip:
        clip.setparams((1, 2, SAMPLE_RATE_HZ, len(sound), "NONE", ""))
        clip.writeframes((sound * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
