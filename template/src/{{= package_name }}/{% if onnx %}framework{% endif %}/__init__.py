"""How the model is made: it exists, as an ONNX file, and the stage `adopt` takes it in."""

STAGES = ("adopt",)  # of dvc.yaml; the last one writes models/model.onnx
MODEL_REPORT = "export"  # in reports/: facts about the model
CHECKPOINT = "model.onnx"  # in models/: nothing is trained
MADE = "dated {day}, measured on {data}"
SIMPLER = "as `task/model.onnx`"
