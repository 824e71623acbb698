"""Commands that manage devices, for `cli.py`: the module, the help, and the argument, if any."""

COMMANDS = {
    "collect": ("fleet.collector", "Receive decisions of devices and export them to Prometheus"),
    "package": ("fleet.debian", "Build a Debian package of the device loop and its model", "ARCH"),
    "publish": ("fleet.publish", "Write the champion to repository/, for devices to fetch"),
    "rotate": ("fleet.publish", "Replace a key of the update repository", "NAME"),
}
