"""From a sound clip to the input of the model, with the same code in training and production."""

import numpy as np

from ..decoding.wav import read_wav

SAMPLE_RATE_HZ = 16_000
WINDOW = 512  # samples, 32 ms
HOP = 320  # samples, 20 ms
BANDS = 32
QUIET_PEAK = 0.01  # 1 is full scale
RANGE_DB = 50  # below the maximum; anything quieter counts as silence
MAX_PAYLOAD_BYTES = 400_000
CONTENT_TYPES = {"audio/wav": ".wav", "audio/x-wav": ".wav"}
FEATURES_VERSION = 1  # increase it when you change `features`

Raw = np.ndarray  # float32 (samples,), -1 to 1


def decode(payload: bytes) -> Raw:
    """Read a WAV file: float32 (samples,), -1 to 1.

    Raises:
        Refusal: it is not WAV, not 16,000 Hz mono 16 bit PCM, empty, or its length differs from
            the header.
    """
    return read_wav(payload, SAMPLE_RATE_HZ)


def features(samples: Raw) -> np.ndarray:
    """Return float32 (BANDS, 49 frames): the log-mel spectrogram of the loudest second.

    Clipped from below and standardized: distance to the microphone and gain do not matter.
    """
    clip = _loudest_second(samples)
    frames = np.lib.stride_tricks.sliding_window_view(clip, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * _HANN)) ** 2
    loudness_db: np.ndarray = 10 * np.log10(_MEL @ power.T + 1e-12)  # finite for digital silence
    clipped_db = np.maximum(loudness_db, loudness_db.max() - RANGE_DB)
    x: np.ndarray = (clipped_db - clipped_db.mean()) / (clipped_db.std() + 0.1)  # no division by 0
    return x.astype(np.float32)


def _loudest_second(samples: Raw) -> np.ndarray:
    """Return the loudest second, (SAMPLE_RATE_HZ,); pad shorter clips evenly."""
    if (missing := SAMPLE_RATE_HZ - len(samples)) > 0:
        return np.pad(samples, (missing // 2, missing - missing // 2))
    energy = np.cumsum(np.pad(samples, (1, 0)).astype(np.float64) ** 2)
    start = int(np.argmax(energy[SAMPLE_RATE_HZ:] - energy[:-SAMPLE_RATE_HZ]))
    return samples[start : start + SAMPLE_RATE_HZ]


def describe(samples: Raw) -> dict[str, float]:
    """Return the facts that the contract validates and drift monitoring watches."""
    loudness = float(np.sqrt(np.mean(samples**2)))
    slope = float(np.sqrt(np.mean(np.diff(samples, prepend=samples[:1]) ** 2))) * SAMPLE_RATE_HZ
    size = np.abs(samples)
    peak = float(size.max())
    return {
        "seconds": len(samples) / SAMPLE_RATE_HZ,
        "loudness_db": 20 * float(np.log10(loudness + 1e-6)),  # 0 is full scale; silence is -120
        "peak": peak,  # 1 is full scale
        "silence_share": float(np.mean(size < 0.1 * peak)),  # 20 dB below the peak
        "frequency_hz": slope / (loudness + 1e-6) / (2 * np.pi),  # root mean square
    }


def quiet(facts: dict[str, float]) -> bool:
    """Whether a clip is too quiet for a voice, and needs no prediction."""
    return facts["peak"] < QUIET_PEAK


def _mel_filters() -> np.ndarray:
    """Return float32 (BANDS, WINDOW // 2 + 1): overlapping triangles, evenly spaced in mel.

    Mel is the scale of O'Shaughnessy 1987, "Speech Communication".
    """
    low_mel, high_mel = 2595 * np.log10(1 + np.array([60, 7600]) / 700)
    corners_hz = 700 * (10 ** (np.linspace(low_mel, high_mel, BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE_HZ)
    left, middle, right = (corners_hz[i : i + BANDS, None] for i in range(3))
    slopes = np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle))
    return np.maximum(slopes, 0).astype(np.float32)


_MEL = _mel_filters()
_HANN = np.hanning(WINDOW).astype(np.float32)
