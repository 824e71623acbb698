"""Where `ingest` was before 0.3.0: tests of yours import it from here."""

from .pipeline.ingest import ingest

__all__ = ["ingest"]
