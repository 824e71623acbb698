"""The path of `ingest` before 0.3.0, kept for your tests that import it."""

from .pipeline.ingest import ingest

__all__ = ["ingest"]
