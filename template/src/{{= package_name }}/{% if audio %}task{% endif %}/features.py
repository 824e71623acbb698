"""From a sound clip to the input of the model, with the same code in training and production."""

import struct

import numpy as np

from ..refusal import Refusal

SAMPLE_RATE_HZ = 16_000
WINDOW = 512  # samples, 32 ms
HOP = 320  # samples, 20 ms
BANDS = 32
QUIET_PEAK = 0.01  # 1 is full scale
RANGE_DB = 50  # below the maximum; anything quieter counts as silence
MAX_REST_BYTES = 4096  # more than this after the last chunk: the length of the samples is wrong
MAX_PAYLOAD_BYTES = 400_000
CONTENT_TYPES = {"audio/wav": ".wav", "audio/x-wav": ".wav"}
FEATURES_VERSION = 1  # increase it when you change `features`

Raw = np.ndarray  # float32 (samples,), -1 to 1
PCM, EXTENSIBLE = 1, 0xFFFE  # format codes; the second one names the format in a GUID
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
UNKNOWN_BYTES = 0xFFFFFFFF  # length of a file that was written to a pipe: samples to the end
FORMAT = {"sample_rate_hz": SAMPLE_RATE_HZ, "channels": 1, "bits": 16}
RULE = f"{SAMPLE_RATE_HZ} Hz, mono, 16 bit"


def decode(payload: bytes) -> Raw:
    """Read a WAV file: float32 (samples,), -1 to 1.

    Raises:
        Refusal: it is not WAV, not 16,000 Hz mono 16 bit PCM, empty, or its length differs from
            the header.
    """
    chunks, rest_bytes = _read_chunks(payload)
    header, data = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(header) < 16 or data is None:
        rule = f"a whole WAV file, {RULE} PCM, with chunks named fmt and data"
        raise Refusal("payload", payload[:12], rule, b"RIFF$}\x00\x00WAVE")
    code, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", header)
    if code != PCM and (code, header[24:40]) != (EXTENSIBLE, PCM_GUID):
        raise Refusal("format", code, f"uncompressed integers (PCM), {RULE}", PCM)
    for (field, expected), value in zip(FORMAT.items(), (rate_hz, channels, bits), strict=True):
        if value != expected:
            raise Refusal(field, value, RULE, expected)
    if rest_bytes > MAX_REST_BYTES or len(data) % 2:
        rule = f"the length of all samples, 2 bytes each; {rest_bytes} bytes are left over"
        raise Refusal("declared_bytes", len(data), rule, (len(data) + rest_bytes) // 2 * 2)
    if not data:
        raise Refusal("seconds", 0.0, "at least one sample", 1.0)
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _read_chunks(payload: bytes) -> tuple[dict[bytes, bytes], int]:
    """Return the chunks by name, and how many bytes follow the last one.

    Python's `wave` differs between versions, and refuses some valid files.

    Raises:
        Refusal: it is not WAV, the samples are cut short, or there are two chunks of them.
    """
    chunks: dict[bytes, bytes] = {}
    start = 12 if (payload[:4], payload[8:12]) == (b"RIFF", b"WAVE") else len(payload)
    while (name := payload[start : start + 4]).isascii() and len(payload) - start >= 8:
        size = int.from_bytes(payload[start + 4 : start + 8], "little")
        data = payload[start + 8 : start + 8 + size]
        if name == b"data" and len(data) < size != UNKNOWN_BYTES:
            raise Refusal("declared_bytes", size, "all samples, not cut short", len(data))
        if len(data) < size and name != b"data" or not name.decode().isprintable():
            break
        if name in chunks and name in (b"fmt ", b"data"):
            raise Refusal("chunks", name, "one chunk of samples, one of their format", b"data")
        chunks[name] = data
        start += 8 + len(data)
        # A zero byte follows a chunk of odd length; some programs leave it out.
        start += size % 2 and payload[start : start + 1] == b"\0"
    return chunks, len(payload) - start


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
