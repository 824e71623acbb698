"""Create, and later look after, projects rendered from the poc2prod template."""

__version__ = "0.4.0"
