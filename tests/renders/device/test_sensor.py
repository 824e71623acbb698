"""The `capture` commands of docs/devices.md, with test devices in place of real sensors."""

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

TAKE_IN = """
from pathlib import Path
from scratch_detector.intake import take_in
from scratch_detector.task import features
(path,) = Path("data/inbox").iterdir()
raw, facts = take_in(path.read_bytes())
print(path.suffix, getattr(features, "quiet", lambda facts: False)(facts))
"""


def capture(
    render: Render, folder: Path, modality: str, sensor: str, stand_in: tuple[str, str], **more: str
) -> str:
    """Run the `capture` command of a row once; return the suffix and the `quiet` of the payload."""
    shutil.copytree(render(modality=modality, target="edge"), folder)
    (command,) = re.findall(
        rf"^\| {sensor} \| `(.+)` \|$", (folder / "docs/devices.md").read_text(), re.MULTILINE
    )
    if not shutil.which(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    assert stand_in[0] in command
    params = (folder / "params.yaml").read_text()
    lines = f"capture: {command.replace(*stand_in)}\ncapture_every_s: 60 #"
    (folder / "params.yaml").write_text(re.sub(r'capture: "".*\ncapture_every_s:', lines, params))
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev"))) | more
    words = ["python", "-m", "scratch_detector", "capture"]
    with subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not list((folder / "data").glob("inbox/[!.]*")):
            time.sleep(0.1)
        process.kill()
        assert process.stderr and not process.stderr.read()
    return done(run_in(folder, "python", "-c", TAKE_IN)).strip()


def test_captures_from_a_camera(render: Render, tmp_path: Path) -> None:
    stand_in = ("fswebcam", "fswebcam --quiet --device TEST")
    assert capture(render, tmp_path / "repo", "image", "camera, USB", stand_in) == ".png False"


@pytest.mark.parametrize("loudness", [100, 8000])
def test_captures_from_a_microphone(loudness: int, render: Render, tmp_path: Path) -> None:
    room = array("h", [round(loudness * math.sin(i / 5)) for i in range(64_000)])
    (tmp_path / "room").write_bytes(room.tobytes())
    plugin = f'type file slave.pcm null file /dev/null infile "{tmp_path}/room" format raw'
    (tmp_path / ".asoundrc").write_text(f"pcm.room {{ {plugin} }}\n")
    stand_in = ("arecord", "arecord --device room")
    home = {"HOME": str(tmp_path)}
    shown = capture(render, tmp_path / "repo", "audio", "microphone", stand_in, **home)
    assert shown == f".wav {loudness == 100}"


def test_capture_keeps_a_copy_of_each_input(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="image", target="edge"), folder)
    (line,) = re.findall(r"(?m)^capture: mkdir .+$", (folder / "docs/devices.md").read_text())
    assert "fswebcam --no-banner --png 9 -" in line
    (tmp_path / "photo").write_bytes(b"a photo")
    line = line.replace("fswebcam --no-banner --png 9 -", f"cat {tmp_path}/photo")
    line = line.replace("/srv/inputs", f"{tmp_path}/inputs")
    params = re.sub(r'(?m)^capture: "".*$', line, (folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(params)
    env = variables(folder, environment(requirements(folder, "serve", "train", "dev")))
    words = ["python", "-m", "scratch_detector", "capture"]
    with subprocess.Popen(words, cwd=folder, env=env) as process:
        while process.poll() is None and not list((folder / "data").glob("inbox/[!.]*")):
            time.sleep(0.1)
        process.kill()
    copies = [path.read_bytes() for path in (tmp_path / "inputs").iterdir()]
    assert copies and set(copies) == {b"a photo"}
