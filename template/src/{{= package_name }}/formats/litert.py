"""LiteRT, formerly TensorFlow Lite; also the format of custom models in ML Kit."""

from pathlib import Path

from .format import Run

FILE = "model.tflite"


def export(folder: Path) -> None:
    import litert_torch

    from .torch_program import export_program

    program = export_program()
    litert_torch.convert(program.module(), program.example_inputs[0]).export(str(folder / FILE))


def load(folder: Path) -> Run:
    """Run the file on one thread, like all formats."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / FILE), num_threads=1)
    run = interpreter.get_signature_runner()
    # The converter chooses these names.
    (input_name,) = run.get_input_details()
    (output_name,) = run.get_output_details()
    return lambda x: run(**{input_name: x})[output_name]
