"""How the model is made: a network is trained with Keras, or exists, and is then exported."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported

STAGES = ("train", "export")  # of dvc.yaml; the last one writes models/model.onnx
MODEL_REPORT = "train"  # in reports/: facts about the model
CHECKPOINT = "model.keras"  # in models/
MADE = "trained {day} on {data}"
SIMPLER = "by returning one dense layer from `build_model`"
