"""Commands of devices, for `cli.py`: the module, the help, and the argument, if any."""

COMMANDS = {
    "edge": ("device.loop", "Run the device loop on the inbox and the socket"),
    "put": ("device.inbox", "Put standard input into the inbox"),
    "capture": ("device.inbox", "Put inputs from a sensor into the inbox"),
    "outbox": ("device.outbox", "Print the decisions that were not sent yet, as JSON lines"),
    "update": ("device.model_update", "Check for a newer model once"),
}
