"""Monitoring of a deployed model: drift, quality on labelled requests, limits as metrics."""
