"""One sound clip to what the model sees: training, calibration, server and device all call these."""

import io
import wave

import numpy as np

from ..refusal import Refusal

SAMPLE_RATE_HZ = 16_000
WINDOW, HOP = 512, 320  # samples: 32 ms, every 20 ms
BANDS = 32
RANGE_DB = 50  # what is quieter than this below the loudest is one floor
MAX_HEADER_BYTES = 4096  # more beside the samples means that the header lies about their number
MAX_PAYLOAD_BYTES = 400_000
CONTENT_TYPES = {"audio/wav": ".wav", "audio/x-wav": ".wav"}
FEATURES_VERSION = 1  # raise it when `features` changes what it returns

Raw = np.ndarray  # float32 (samples,), -1 to 1
_FORMAT = {"sample_rate_hz": SAMPLE_RATE_HZ, "channels": 1, "bits": 16}
_RULE = f"{SAMPLE_RATE_HZ} Hz, mono, 16 bit"


def decode(payload: bytes) -> Raw:
    """Read a WAV file: float32 (samples,), -1 to 1.

    Raises:
        Refusal: it is not WAV, not 16,000 Hz mono 16 bit PCM, empty, or of another length than
            its header says.
    """
    try:
        with wave.open(io.BytesIO(payload)) as clip:
            found = clip.getframerate(), clip.getnchannels(), 8 * clip.getsampwidth()
            declared = 2 * clip.getnframes()
            data = clip.readframes(clip.getnframes())
    except (wave.Error, EOFError) as error:
        rule = f"a whole WAV file, {_RULE} PCM ({error or 'cut short'})"
        raise Refusal("payload", payload[:8], rule, b"RIFF$}\x00\x00") from error
    for (field, right), value in zip(_FORMAT.items(), found, strict=True):
        if value != right:
            raise Refusal(field, value, _RULE, right)
    if len(data) != declared or len(payload) - declared > MAX_HEADER_BYTES:
        value = f"{declared} bytes of samples declared in {len(payload)} bytes"
        raise Refusal("payload", value, "a header that tells the length", "32000 in 32044")
    if not data:
        raise Refusal("seconds", 0.0, "at least one sample", 1.0)
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def features(samples: Raw) -> np.ndarray:
    """Return float32 (BANDS, 49 frames): the log-mel spectrogram of the loudest second.

    Floored, centred and in units of its own spread, so that neither the distance to the
    microphone nor its gain matters.
    """
    clip = _loudest_second(samples)
    frames = np.lib.stride_tricks.sliding_window_view(clip, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * _HANN)) ** 2
    loudness_db = 10 * np.log10(_MEL @ power.T + 1e-12)
    heard = np.maximum(loudness_db, loudness_db.max() - RANGE_DB)
    return ((heard - heard.mean()) / (heard.std() + 0.1)).astype(np.float32)


def _loudest_second(samples: Raw) -> np.ndarray:
    """Cut one second (SAMPLE_RATE_HZ,) out where it is loudest; pad what is shorter evenly."""
    if (missing := SAMPLE_RATE_HZ - len(samples)) > 0:
        return np.pad(samples, (missing // 2, missing - missing // 2))
    energy = np.cumsum(np.square(samples, dtype=np.float64))
    start = int(
        np.argmax(energy[SAMPLE_RATE_HZ - 1 :] - energy[: len(energy) - SAMPLE_RATE_HZ + 1])
    )
    return samples[start : start + SAMPLE_RATE_HZ]


def describe(samples: Raw) -> dict[str, float]:
    """Return the facts that the contract limits and the drift monitor follows."""
    loudness, change = (
        float(np.sqrt(np.mean(x**2))) for x in (samples, np.diff(samples, prepend=0))
    )
    size = np.abs(samples)
    peak = float(size.max())
    return {
        "seconds": len(samples) / SAMPLE_RATE_HZ,
        "loudness_db": 20 * float(np.log10(loudness + 1e-6)),  # 0 is full scale
        "peak": peak,
        "silence_share": float(np.mean(size < 0.1 * peak)),
        "frequency_hz": change / (loudness + 1e-6) * SAMPLE_RATE_HZ / (2 * np.pi),
    }


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
