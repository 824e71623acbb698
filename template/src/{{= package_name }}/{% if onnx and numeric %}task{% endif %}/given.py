"""The trained model that you bring: `model.onnx` in this folder, and what the file does not say."""

OUTPUT = ""  # the name of the output to use, if the file has several, like "price"

# For the model card.
ORIGIN = ""  # who trained it, on which data, like "credit team, payments of 2025"
LICENSE = ""  # of the weights, like "Apache-2.0"
TRAINED_ON = ""  # a date, like "2026-11-30"; empty: the day on which it is adopted
