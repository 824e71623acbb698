"""Models that were judged and signed, and which of them answers."""
