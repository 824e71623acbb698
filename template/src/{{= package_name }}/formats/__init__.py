"""Converters for other runtimes, each with an environment of its own."""
