"""LiteRT: the runtime of TensorFlow Lite, and what ML Kit takes as a custom model."""

from pathlib import Path

from .format import Run

FILE = "model.tflite"


def export(folder: Path) -> None:
    """Write `model.tflite`."""
    import litert_torch

    from .torch_program import program

    exported = program()
    litert_torch.convert(exported.module(), exported.example_inputs[0]).export(str(folder / FILE))


def load(folder: Path) -> Run:
    """Run it on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / FILE), num_threads=1)
    answer = interpreter.get_signature_runner()
    (takes,), (gives,) = answer.get_input_details(), answer.get_output_details()
    return lambda x: answer(**{takes: x})[gives]
