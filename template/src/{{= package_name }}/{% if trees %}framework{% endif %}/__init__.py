"""How the model is made: an estimator is fitted, then converted to ONNX."""

STAGES = ("train", "export")  # of dvc.yaml; the last one writes models/model.onnx
MODEL_REPORT = "train"  # in reports/: facts about the model
CHECKPOINT = "model.skops"  # in models/
MADE = "trained {day} on {data}"
SIMPLER = "by returning a linear model from `build_model`"
