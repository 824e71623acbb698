"""The lowest versions that `pyproject.toml` allows train, export, check and serve a model.

The lock file of a project has the newest versions, and hides a limit that is too low.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from environment import environment, requirements, variables
from server import serving, with_latency_limit

# As one process: importing PyTorch takes seconds.
STAGES = "from scratch_detector.cli import STAGES, run; [run(n) for n in [*STAGES[3:], 'card']]"


@pytest.mark.long
def test_the_lowest_allowed_versions_train_and_serve(built: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(built, tmp_path / "repo", symlinks=True)
    wanted = requirements(folder, "serve", "train")
    lowest = environment(wanted, "--resolution=lowest-direct")
    for code in (STAGES, "from scratch_detector.cli import run; run('example')"):
        command = [str(lowest / "bin/python"), "-c", code]
        env = variables(folder, lowest)
        result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    with serving(folder, with_latency_limit(5000), place=lowest) as server:
        assert server.ask().json["label"] in ("fraud", "legitimate")
        data = [server.payload.decode()]
        payload = {"name": "payload", "datatype": "BYTES", "shape": [1], "data": data}
        body = json.dumps({"inputs": [payload]}).encode()
        infer = "/v2/models/scratch-detector/infer"
        assert server.ask(infer, body, content_type="application/json").status == 200
        for path in ("/", "/docs", "/openapi.json", "/metrics", "/v2"):
            assert server.ask(path).status == 200, path
