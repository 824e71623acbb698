"""Converters for other runtimes, each in a separate environment."""
