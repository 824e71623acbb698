"""Data that nobody here made, written the way a user would bring it: folders, or a table.

The digits and the table come with scikit-learn, the words from a speech synthesiser of Debian.
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
from sklearn.datasets import load_breast_cancer, load_digits

RATE_HZ = 16_000
WORDS = ("go", "no", "stop", "yes")
ACCENTS = ("en-029", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us")
SPEAKERS = ("m1", "m3", "m5", "f1", "f2", "f4")
TAKES = 9  # of each word by each speaker in each accent
SILENT_CLIPS = 240


def write_digits(folder: Path) -> None:
    """Write 1,797 scanned digits, 8 x 8 pixels as they are: one folder per label."""
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


def write_keywords(folder: Path) -> None:
    """Speak every word in six accents by six speakers, at 16 kHz and over a little noise.

    `label/accent/file.wav`, so that the accents are slices; silence is noise alone.
    """
    rng = np.random.default_rng(0)
    voices = itertools.product(WORDS, ACCENTS, SPEAKERS, range(TAKES))
    takes = [(*voice, rng.integers(110, 230), rng.integers(15, 85)) for voice in voices]
    with ThreadPoolExecutor() as pool:
        spoken = pool.map(lambda take: speak(*take[:3], *take[4:]), takes)
        for (word, accent, speaker, take, *_), sound in zip(takes, spoken, strict=True):
            path = folder / word / accent / f"{speaker}-{take}.wav"
            _write_clip(path, _in_a_room(rng, sound))
    for i in range(SILENT_CLIPS):
        _write_clip(folder / "silence" / "room" / f"{i:03}.wav", _in_a_room(rng, np.zeros(0)))


def speak(word: str, accent: str, speaker: str, words_per_minute: int, pitch: int) -> np.ndarray:
    """Let espeak-ng say a word and sox bring it to 16 kHz: float64 (samples,), -1 to 1."""
    settings = ["-v", f"{accent}+{speaker}", "-s", str(words_per_minute), "-p", str(pitch)]
    said = run("espeak-ng", *settings, "--stdout", word)
    raw = ["-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", str(RATE_HZ), "-"]
    samples = run("sox", "-D", "-V1", "--ignore-length", "-t", "wav", "-", *raw, stdin=said)
    return np.frombuffer(samples, "<i2") / 32768


def run(program: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what a program of Debian prints; say how to get it where it is missing."""
    path = shutil.which(program)
    assert path, f"{program} is missing, which speaks or resamples words: apt install {program}"
    return subprocess.run([path, *arguments], input=stdin, check=True, capture_output=True).stdout


def _in_a_room(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Put the sound into 1 to 1.2 s of white noise, from 12 dB below the voice to 6 dB above."""
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
