"""Commands of the stages that make the model."""

COMMANDS = {
    "adopt": ("pipeline.adopt", "Take in task/model.onnx, and compare the outputs"),
}
