"""The model for other runtimes. Each converter has an environment of its own."""
