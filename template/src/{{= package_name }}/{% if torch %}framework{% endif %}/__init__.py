"""How the model is made: a network is trained with PyTorch, then exported."""

STAGES = ("train", "export")  # of dvc.yaml; the last one writes models/model.onnx
MODEL_REPORT = "train"  # in reports/: facts about the model
CHECKPOINT = "model.pt"  # in models/
MADE = "trained {day} on {data}"
SIMPLER = "by returning one linear layer from `build_model`"
