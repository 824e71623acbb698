"""Commands of the stages that make the model."""

COMMANDS = {
    "train": ("pipeline.train", "Train the network and the baseline it has to beat"),
    "export": ("pipeline.export", "Export the model to ONNX and compare the outputs"),
}
