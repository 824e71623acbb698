"""The commands of the runbook that read a camera and a microphone, with what stands in for both."""

import math
import re
import shutil
import subprocess
import time
from array import array
from pathlib import Path

import pytest

from conftest import Render
from environment import environment, requirements, variables
from repository import done, run_in

TAKEN = """
from pathlib import Path
from scratch_detector.intake import take_in
from scratch_detector.task import features
(path,) = Path("data/inbox").iterdir()
raw, facts = take_in(path.read_bytes())
print(path.suffix, getattr(features, "quiet", lambda facts: False)(facts))
"""


def heard(
    render: Render, folder: Path, modality: str, sensor: str, stand_in: tuple[str, str], **more: str
) -> str:
    """Capture once with the command of a row of the runbook; say what came, and if it is quiet."""
    shutil.copytree(render(modality=modality, target="edge"), folder)
    (command,) = re.findall(
        rf"^\| {sensor} \| `(.+)` \|$",
        (folder / "docs/runbook/devices.md").read_text(),
        re.MULTILINE,
    )
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    assert stand_in[0] in command
    params = (folder / "params.yaml").read_text()
    told = f"capture: {command.replace(*stand_in)}\ncapture_every_s: 60 #"
    (folder / "params.yaml").write_text(re.sub(r'capture: "".*\ncapture_every_s:', told, params))
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev"))) | more
    words = ["python", "-m", "scratch_detector", "capture"]
    with subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list((folder / "data").glob("inbox/[!.]*")):
            time.sleep(0.1)
        process.kill()
        assert process.stderr and not process.stderr.read()
    return done(run_in(folder, "python", "-c", TAKEN)).strip()


def test_a_camera(render: Render, tmp_path: Path) -> None:
    stand_in = ("fswebcam", "fswebcam --quiet --device TEST")
    assert heard(render, tmp_path / "repo", "image", "camera, USB", stand_in) == ".png False"


@pytest.mark.parametrize("loudness", [100, 8000])
def test_a_microphone(loudness: int, render: Render, tmp_path: Path) -> None:
    room = array("h", [round(loudness * math.sin(i / 5)) for i in range(64_000)])
    (tmp_path / "room").write_bytes(room.tobytes())
    plugin = f'type file slave.pcm null file /dev/null infile "{tmp_path}/room" format raw'
    (tmp_path / ".asoundrc").write_text(f"pcm.room {{ {plugin} }}\n")
    stand_in = ("arecord", "arecord --device room")
    heard_as = heard(render, tmp_path / "repo", "audio", "microphone", stand_in, HOME=str(tmp_path))
    assert heard_as == f".wav {loudness == 100}"
