"""A render contains code and commands only for the places where its model runs."""

import re
from pathlib import Path

import pytest

from conftest import Render

PLACES = {"cloud": {"server"}, "edge": {"device"}, "hybrid": {"server", "device"}}
DEVICE_WORDS = re.compile(r"\b(edge|devices?|outbox|fleet|TUF|collector|MQTT)\b", re.IGNORECASE)
FORMAT_WORDS = re.compile(r"executorch|litert|coreml|openvino", re.IGNORECASE)
MODULES = ("gates", "problem/metrics", "bounds", "artifacts", "intake", "examples", "schema")
MODULES += ("refusal", "predictor", "ingest")


@pytest.mark.parametrize("target", PLACES)
def test_renders_only_the_places_of_its_target(target: str, render: Render) -> None:
    folder = render(target=target) / "src/scratch_detector/pipeline/places"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == PLACES[target]


def pipeline_files(folder: Path) -> list[Path]:
    source = folder / "src/scratch_detector"
    tests = [*folder.glob("tests/test_[dgn]*.py"), *folder.glob("tests/pipeline/*.py")]
    ours = [*source.glob("task/*.py"), *(source / f"{name}.py" for name in MODULES)]
    pages = {"report.html", "report.py", "card.md", "card.py", "limits.md", "pages.py"}
    stages = [p for p in source.glob("pipeline/**/*.*") if p.suffix in (".py", ".txt")]
    deployed = {"test_deploy.py"}
    files = [*tests, *folder.glob("tests/task/*.py"), *ours, *stages]
    return [path for path in files if path.name not in pages | deployed]


@pytest.mark.parametrize("modality", ["image", "audio", "tabular"])
def test_a_cloud_render_does_not_mention_devices_or_formats(modality: str, render: Render) -> None:
    files = pipeline_files(render(modality=modality, target="cloud"))
    assert len(files) > 40
    for path in files:
        for pattern in (DEVICE_WORDS, FORMAT_WORDS):
            assert pattern.findall(path.read_text()) == [], path
