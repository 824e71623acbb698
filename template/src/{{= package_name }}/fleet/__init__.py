"""Many devices: the collector, model repository and installation packages."""
