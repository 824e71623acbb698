"""Which build of PyTorch a new project downloads, if the answers do not say it."""

import os
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from .questions import Questions

BUILD, CPU = "torch_source", "cpu"
# The index that a project with `torch_source: cpu` installs from; a variable replaces the address
# that is asked, and no address is asked if it is empty.
INDEX, VARIABLE = "https://download.pytorch.org/whl/cpu", "POC2PROD_CPU_INDEX"
DRIVER = Path("/proc/driver/nvidia")
ANSWERS_WITHIN_S = 3  # behind a firewall, a connection hangs


def choose_build(questions: Questions) -> Questions:
    """Make the CPU build the default where there is no NVIDIA driver and its index can be reached.

    PyPI has no CPU build for Linux: its build includes the libraries for CUDA, 2.7 GB.
    """
    is_useful = BUILD in questions.specs and sys.platform == "linux" and not DRIVER.exists()
    if not is_useful or not _can_reach(os.environ.get(VARIABLE, INDEX)):
        return questions
    return questions.with_default(BUILD, CPU)


def _can_reach(index: str) -> bool:
    if not index:
        return False
    try:
        with urlopen(Request(f"{index}/torch/", method="HEAD"), timeout=ANSWERS_WITHIN_S) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError, ValueError):
        return False
