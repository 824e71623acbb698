"""The network for other runtimes, each converter in an environment of its own."""
