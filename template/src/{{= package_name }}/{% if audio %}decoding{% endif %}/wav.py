"""Read WAV files with any other chunks. Python's `wave` refuses some of them, by version."""

import struct

import numpy as np

from ..refusal import Refusal

MAX_REST_BYTES = 4096  # more than this after the last chunk: the length of the samples is wrong
PCM, EXTENSIBLE = 1, 0xFFFE  # format codes; the second one names the format in a GUID
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
# Lengths from here on mean "to the end": programs that write to a pipe do not know the length.
UNKNOWN_BYTES = 0x7FFF0000
ONCE = {b"RIFF", b"fmt ", b"data"}  # a second one would belong to another clip


def read_wav(payload: bytes, sample_rate_hz: int) -> np.ndarray:
    """Return the samples of a mono file with 16 bits: float32 (samples,), -1 to 1.

    Raises:
        Refusal: it is not WAV, not mono 16 bit PCM with this sample rate, empty, or its length
            differs from the header.
    """
    expected = {"sample_rate_hz": sample_rate_hz, "channels": 1, "bits": 16}
    words = f"{sample_rate_hz} Hz, mono, 16 bit"
    chunks, rest_bytes, cut_from_bytes = _read_chunks(payload)
    header, data = chunks.get(b"fmt ", b""), chunks.get(b"data")
    if len(header) < 16 or data is None:
        rule = f"a whole WAV file, {words} PCM, with chunks named fmt and data"
        raise Refusal("payload", payload[:12], rule, b"RIFF$}\x00\x00WAVE")
    code, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", header)
    if code != PCM and (code, header[24:40]) != (EXTENSIBLE, PCM_GUID):
        raise Refusal("format", code, f"uncompressed integers (PCM), {words}", PCM)
    for (field, valid), value in zip(expected.items(), (rate_hz, channels, bits), strict=True):
        if value != valid:
            raise Refusal(field, value, words, valid)
    if cut_from_bytes:
        raise Refusal("declared_bytes", cut_from_bytes, "all samples, not cut short", len(data))
    if rest_bytes > MAX_REST_BYTES or len(data) % 2:
        rule = f"the length of all samples, 2 bytes each; {rest_bytes} bytes are left over"
        raise Refusal("declared_bytes", len(data), rule, (len(data) + rest_bytes) // 2 * 2)
    if not data:
        raise Refusal("seconds", 0.0, "at least one sample", 1.0)
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _read_chunks(payload: bytes) -> tuple[dict[bytes, bytes], int, int]:
    """Return the chunks by name, how many bytes follow, and the length of samples that are cut.

    Raises:
        Refusal: there are two chunks of samples, or two of their format.
    """
    chunks: dict[bytes, bytes] = {}
    start, cut_from_bytes = len(payload), 0
    if (payload[:4], payload[8:12]) == (b"RIFF", b"WAVE"):
        chunks[b"RIFF"], start = b"", 12
    while (name := payload[start : start + 4]).isascii() and len(payload) - start >= 8:
        size = int.from_bytes(payload[start + 4 : start + 8], "little")
        data = payload[start + 8 : start + 8 + size]
        if name == b"data" and len(data) < size < UNKNOWN_BYTES:
            cut_from_bytes = size
        if len(data) < size and name != b"data" or not name.decode().isprintable():
            break
        if name in ONCE & chunks.keys():
            raise Refusal("chunks", name, "one chunk of samples, one of their format", b"data")
        chunks[name] = data
        start += 8 + len(data)
        # A zero byte follows a chunk of odd length; some programs leave it out.
        start += size % 2 and payload[start : start + 1] == b"\0"
    return chunks, len(payload) - start, cut_from_bytes
