"""Made-up speakers who say four short words in two rooms. Delete this with your data in."""

import io
import wave
from collections.abc import Iterator

import numpy as np

from ..examples import Example

RATE_HZ = 16_000
WINDOW, HOP = 256, 128  # samples: the mouth moves slower than that
SOUNDS = {  # ms; levels of voice and hiss; first and second formant and centre of the hiss, Hz
    "-": (45, 0.0, 0.0, 450, 1300, 3000),
    "e": (130, 1.0, 0.0, 550, 1850, 5000),
    "g": (20, 0.1, 0.6, 300, 1300, 1900),
    "m": (60, 0.5, 0.0, 270, 1150, 1900),
    "o": (140, 1.0, 0.0, 690, 1100, 3000),
    "O": (150, 1.0, 0.0, 520, 950, 1900),
    "p": (20, 0.0, 0.4, 600, 900, 1000),
    "s": (130, 0.0, 0.5, 450, 1600, 5800),
    "t": (20, 0.0, 0.9, 450, 1600, 4200),
    "u": (90, 0.7, 0.0, 370, 800, 1900),
    "y": (70, 0.8, 0.0, 280, 2250, 5000),
}
WORDS = {"go": "-gOu", "no": "mOu", "silence": "", "stop": "s-to-p", "yes": "yes"}
NOISE = {"quiet": (0.005, 0.03), "noisy": (0.08, 0.25)}  # beside speech of loudness 0.1


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` WAV payloads, each word equally often, the same for the same seed."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        label = sorted(WORDS)[i % len(WORDS)]
        room = sorted(NOISE)[int(rng.integers(2))]
        clip = _room(rng, int(rng.uniform(0.8, 1.2) * RATE_HZ), *NOISE[room])
        if sounds := WORDS[label]:
            word = _word(rng, sounds)
            onset = int(rng.integers(len(clip) - len(word)))
            clip[onset : onset + len(word)] += word
        gain = rng.uniform(0.3, 1) / max(1.0, np.abs(clip).max())
        yield Example(f"sample-{seed}-{i:05}", _wav(clip * gain), label, room)


def _word(rng: np.random.Generator, sounds: str) -> np.ndarray:
    """Shape glottal pulses and hiss, frame by frame, by the formants of one speaker.

    The source and the filter are those of Fant 1960, "Acoustic theory of speech production".
    """
    speed, tract, pitch_hz = rng.uniform(0.75, 1.25), rng.uniform(0.85, 1.2), rng.uniform(85, 250)
    rows = np.array([SOUNDS[sound] for sound in sounds]) * rng.normal(1, 0.1, (len(sounds), 6))
    ends = np.cumsum(rows[:, 0]) / speed
    starts = np.concatenate([[0], ends[:-1]])
    knots = np.stack([0.8 * starts + 0.2 * ends, 0.2 * starts + 0.8 * ends], 1).ravel()
    times = np.arange(0, ends[-1] + 30, 1000 * HOP / RATE_HZ)
    voice, hiss, *hz = (np.interp(times, knots, np.repeat(row, 2))[:, None] for row in rows.T[1:])
    first, second, centre = (tract * track for track in hz)
    glide = np.linspace(rng.uniform(1, 1.2), rng.uniform(0.7, 1), (len(times) + 1) * HOP)
    pulses = np.exp(150 * (np.cos(np.cumsum(2 * np.pi * pitch_hz * glide / RATE_HZ)) - 1))
    resonance = _peak(first, 90) + 0.6 * _peak(second, 130) + 0.2 * _peak(tract * 2700, 200)
    spectrum = voice * resonance * _frames(pulses / pulses.std())
    spectrum += hiss * _peak(centre, 1200) * _frames(rng.normal(0, 1, len(glide)))
    frames = np.fft.irfft(spectrum)
    word = np.zeros((len(times) + 1) * HOP)
    word[:-HOP] += frames[:, :HOP].ravel()
    word[HOP:] += frames[:, HOP:].ravel()
    return word * 0.1 / np.sqrt(np.mean(word**2))


def _peak(centre_hz: np.ndarray, width_hz: float) -> np.ndarray:
    """Return the gain of a resonance at each frequency: (frames, WINDOW // 2 + 1)."""
    hz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    return 1 / (1 + ((hz - centre_hz) / width_hz) ** 2)


def _frames(sound: np.ndarray) -> np.ndarray:
    """Return the spectra of overlapping frames: complex (frames, WINDOW // 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    return np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1])


def _room(rng: np.random.Generator, samples: int, low: float, high: float) -> np.ndarray:
    """Noise of a random level and colour, and now and then a knock."""
    noise = rng.normal(0, 1, samples + 1)
    noise = noise[1:] + rng.uniform(-0.3, 0.9) * noise[:-1]
    noise *= np.exp(rng.uniform(np.log(low), np.log(high))) / noise.std()
    if rng.random() < 0.3:
        knock = rng.normal(0, rng.uniform(1, 6) * high, 800) * np.exp(-np.arange(800) / 150)
        onset = int(rng.integers(samples - len(knock)))
        noise[onset : onset + len(knock)] += knock
    return noise


def _wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as clip:
        clip.setparams((1, 2, RATE_HZ, len(sound), "NONE", ""))
        clip.writeframes((sound * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
