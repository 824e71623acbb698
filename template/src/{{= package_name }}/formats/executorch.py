"""ExecuTorch, PyTorch's runtime for phones and embedded boards, with XNNPACK kernels."""

from pathlib import Path

from .format import Run

FILE = "model.pte"


def export(folder: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from .torch_program import export_program

    program = to_edge_transform_and_lower(export_program(), partitioner=[XnnpackPartitioner()])
    (folder / FILE).write_bytes(program.to_executorch().buffer)


def load(folder: Path) -> Run:
    """Run the file on one thread, like all formats."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(1)  # the API has no public function
    forward = Runtime.get().load_program(folder / FILE).load_method("forward")
    return lambda x: forward.execute([torch.from_numpy(x)])[0].numpy()
