"""What the file `model.keras` in this folder does not say, if you bring a trained model."""

# For the model card.
ORIGIN = ""  # who trained it, on which data, like "credit team, payments of 2025"
LICENSE = ""  # of the weights, like "Apache-2.0"
