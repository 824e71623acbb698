"""Public data sets, written the way a user would provide them: as folders or as a table.

Digits and table come with scikit-learn; the spoken words are synthesised by espeak-ng.
"""

import csv
import itertools
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

RATE_HZ = 16_000
WORDS = ("go", "no", "stop", "yes")
ACCENTS = ("en-029", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us")
SPEAKERS = ("m1", "m3", "m5", "f1", "f2", "f4")
TAKES = 9  # of each word by each speaker in each accent
SILENT_CLIPS = 240


def write_digits(folder: Path) -> None:
    """Write 1,797 scanned digits of 8 x 8 pixels: one folder per label."""
    digits = load_digits()
    labels = digits.target_names[digits.target]
    for i, (image, label) in enumerate(zip(digits.images, labels, strict=True)):
        path = folder / f"{label}" / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 255 / 16).astype(np.uint8)).save(path)


def write_diagnoses(path: Path) -> None:
    """Write the Wisconsin breast cancer table: 569 rows, 30 numbers and the diagnosis."""
    table = load_breast_cancer()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*table.feature_names, "diagnosis"])
        for numbers, label in zip(table.data, table.target_names[table.target], strict=True):
            rows.writerow([*map(float, numbers), label])


def write_progressions(path: Path) -> None:
    """Write the diabetes table: 442 rows, ten numbers and the progression after one year."""
    table = load_diabetes(scaled=False)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*table.feature_names, "progression"])
        for numbers, progression in zip(table.data, table.target, strict=True):
            rows.writerow([*map(float, numbers), float(progression)])


def write_keywords(folder: Path) -> None:
    """Synthesise each word in six accents by six speakers, at 16 kHz and with background noise.

    Files are `label/accent/file.wav`, which makes the accents slices; silence is noise only.
    """
    rng = np.random.default_rng(0)
    voices = itertools.product(WORDS, ACCENTS, SPEAKERS, range(TAKES))
    takes = [(*voice, rng.integers(110, 230), rng.integers(15, 85)) for voice in voices]
    with ThreadPoolExecutor() as pool:
        spoken = pool.map(lambda take: speak(*take[:3], *take[4:]), takes)
        for (word, accent, speaker, take, *_), sound in zip(takes, spoken, strict=True):
            path = folder / word / accent / f"{speaker}-{take}.wav"
            _write_clip(path, _add_noise(rng, sound))
    for i in range(SILENT_CLIPS):
        _write_clip(folder / "silence" / "room" / f"{i:03}.wav", _add_noise(rng, np.zeros(0)))


def speak(word: str, accent: str, speaker: str, words_per_minute: int, pitch: int) -> np.ndarray:
    """Synthesise a word with espeak-ng and resample it with sox: float64 (samples,), -1 to 1."""
    settings = ["-v", f"{accent}+{speaker}", "-s", str(words_per_minute), "-p", str(pitch)]
    sound = run("espeak-ng", *settings, "--stdout", word)
    raw = ["-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", str(RATE_HZ), "-"]
    samples = run("sox", "-D", "-V1", "--ignore-length", "-t", "wav", "-", *raw, stdin=sound)
    return np.frombuffer(samples, "<i2") / 32768


def run(program: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return the output of a program."""
    path = shutil.which(program)
    assert path, f"{program} is missing: apt install {program}"
    return subprocess.run([path, *arguments], input=stdin, check=True, capture_output=True).stdout


def _add_noise(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Add 1 to 1.2 s of white noise, from 12 dB below to 6 dB above the level of the voice."""
    noise = rng.normal(0, 1, int(rng.uniform(1, 1.2) * RATE_HZ)) * 10 ** rng.uniform(-0.6, 0.3)
    if len(sound):
        sound = np.trim_zeros(sound)[: len(noise)]
        onset = rng.integers(len(noise) - len(sound) + 1)
        noise[onset : onset + len(sound)] += sound / sound.std()
    return noise * rng.uniform(0.02, 0.08)


def _write_clip(path: Path, sound: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as clip:
        clip.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        clip.writeframes((sound.clip(-1, 1) * 32767).astype("<i2").tobytes())
