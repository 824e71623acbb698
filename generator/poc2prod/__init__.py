"""Create, check and update projects of the poc2prod template."""

__version__ = "0.4.0"
