"""The prediction server: inference, batching, canary releases, feedback and status page."""
