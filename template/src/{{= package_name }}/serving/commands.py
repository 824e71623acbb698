"""Commands of the server, for `cli.py`: the module, the help, and the argument, if any."""

COMMANDS = {
    "size": ("serving.capacity", "Write the number of servers into deploy/"),
    "serve": ("serving.app", "Serve the champion over HTTP"),
    "rehearse": ("serving.app", "Serve the latest model, released or not"),
    "load": ("serving.load_test", "Load-test a server at its peak traffic"),
    "feedback": ("pipeline.ingest_feedback", "Turn labelled requests into examples"),
}
