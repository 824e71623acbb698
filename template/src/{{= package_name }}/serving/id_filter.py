"""A Bloom filter of ids: a small set that may contain too much, but never too little.

Bloom 1970, "Space/time trade-offs in hash coding with allowable errors".
"""

# 4 MB. With 3 million ids, as many as fit into a journal of 500 MB, 3 % of the others seem known.
BITS = 2**25


class IdFilter:
    """Ids, as two bits each. Hashes have a secret of this process, so no client can choose them."""

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, id: str) -> None:
        both = hash(id)
        for bit in (both % BITS, (both >> 32) % BITS):
            self._bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, id: str) -> bool:
        """Return whether the id was added; sometimes true for one that was not."""
        both = hash(id)
        one, other = both % BITS, (both >> 32) % BITS
        bits = self._bits
        return bool(bits[one >> 3] >> (one & 7) & bits[other >> 3] >> (other & 7) & 1)
