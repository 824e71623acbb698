"""What the file `model.keras` in this folder does not say, if you bring a trained model."""

LABELS: list[str] = []  # in the order of the model's outputs, like ["scratched", "clean"]
# What the output is: "none" for raw scores, "softmax" or "sigmoid" for probabilities. Empty: the
# stage `export` finds out, or asks you to write it here.
ACTIVATION = ""

# For the model card.
ORIGIN = ""  # who trained it, on which data, like "credit team, payments of 2025"
LICENSE = ""  # of the weights, like "Apache-2.0"
