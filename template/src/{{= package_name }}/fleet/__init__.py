"""Tools for a fleet of devices: the collector, the model repository and installation packages."""
