"""Commands of the stages that make the model."""

COMMANDS = {
    "train": ("pipeline.train", "Fit the model and the baseline it has to beat"),
    "export": ("pipeline.export", "Convert the model to ONNX and compare the outputs"),
}
