"""A render mentions only the parts that it has, in its files and in their names."""

import re
from pathlib import Path
from typing import Any

import pytest

from conftest import Render

# Words of each part. `_` and a capital letter end a word: `device_id` and `DeviceSilent` count.
DEVICE = {"edge", "device", "devices", "outbox", "fleet", "tuf", "collector", "collectors"}
SERVER = {"fastapi", "uvicorn", "uvloop", "httptools", "kubernetes", "canary", "kserve"}
MQTT = {"mqtt", "mqtts", "paho"}
FORMATS = {"executorch", "litert", "coreml", "coremltools", "openvino"}
CI = {"workflow", "workflows", "zizmor"}
TRAINING = {"distill", "student"}
NETWORKS = {"student", "quantizers"}
OTHERS = {"lightning", "keras"}
PHRASES = {
    "tuf": re.compile(r"the update framework", re.IGNORECASE),
    "distill": re.compile(
        r"build_model|make retrain|learning_rate|batch_size:|torch==", re.IGNORECASE
    ),
    "quantizers": re.compile(r"calibration_examples|calibration methods|WITH_WEIGHTS"),
    "canary": re.compile(r"status page|load.test|make serve\b", re.IGNORECASE),
}
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# The same words with another meaning, and the folder in which GitHub looks for workflows.
ALLOWED = re.compile(
    r"width=device-width|torch\.device\b|to_edge_transform_and_lower|EdgeProgramManager"
    r"|\bdevice_age_days\b|CollectorRegistry|\.github/workflows"
)

KINDS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "cloud": ({"target": "cloud"}, DEVICE | MQTT | FORMATS | OTHERS),
    "cloud, sound": ({"target": "cloud", "modality": "audio"}, DEVICE | MQTT | FORMATS),
    "cloud, table": ({"target": "cloud", "modality": "tabular"}, DEVICE | MQTT | FORMATS),
    "cloud, asked for MQTT": ({"target": "cloud", "uplink": "mqtt"}, DEVICE | MQTT),
    "cloud, no CI": ({"target": "cloud", "ci": "none"}, DEVICE | CI),
    "cloud, one format": (
        {"target": "cloud", "export_formats": "openvino"},
        DEVICE | FORMATS - {"openvino"},
    ),
    "cloud, three formats": (
        {"target": "cloud", "export_formats": "executorch, coreml, openvino"},
        DEVICE | {"litert"},
    ),
    "edge": ({"target": "edge"}, SERVER | MQTT | FORMATS),
    "edge, sound": ({"target": "edge", "modality": "audio"}, SERVER | MQTT | FORMATS),
    "edge, table": ({"target": "edge", "modality": "tabular"}, SERVER | MQTT | FORMATS),
    "edge, MQTT": ({"target": "edge", "uplink": "mqtt"}, SERVER | FORMATS),
    "edge, no CI": ({"target": "edge", "ci": "none"}, SERVER | CI),
    "hybrid": ({"target": "hybrid"}, MQTT | FORMATS),
    "cloud, given": ({"target": "cloud", "framework": "onnx"}, DEVICE | MQTT | FORMATS | TRAINING),
    "edge, given number": (
        {"target": "edge", "framework": "onnx", "problem": "regression", "modality": "tabular"},
        SERVER | MQTT | FORMATS | TRAINING,
    ),
    "cloud, trees": (
        {"target": "cloud", "framework": "trees", "modality": "tabular"},
        DEVICE | MQTT | FORMATS | NETWORKS,
    ),
    "edge, trees": (
        {"target": "edge", "framework": "trees", "modality": "tabular", "problem": "regression"},
        SERVER | MQTT | FORMATS | NETWORKS,
    ),
    "cloud, Keras": (
        {"target": "cloud", "framework": "keras"},
        DEVICE | MQTT | FORMATS | {"lightning", "student"},
    ),
    "edge, Lightning": ({"target": "edge", "framework": "lightning"}, SERVER | MQTT | {"keras"}),
    "hybrid, no CI": ({"target": "hybrid", "ci": "none"}, MQTT | FORMATS | CI),
}


def mentions(text: str, words: set[str]) -> set[str]:
    """Return which of the words a text contains, and which phrases that belong to them."""
    text = ALLOWED.sub("", text)
    phrases = {key for key, phrase in PHRASES.items() if key in words and phrase.search(text)}
    return words & {word.lower() for word in WORD.findall(text)} | phrases


def places(folder: Path, words: set[str]) -> list[str]:
    """Return `file:line` for each mention; line 0 is the name of the file."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == ".copier-answers.yml":  # the answers, which Copier writes
            continue
        for number, line in enumerate([name, *path.read_text().splitlines()]):
            if seen := mentions(line, words):
                found.append(f"{name}:{number}: {', '.join(sorted(seen))}: {line.strip()[:80]}")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_mentions_only_parts_that_exist(kind: str, render: Render) -> None:
    answers, words = KINDS[kind]
    assert places(render(**answers), words) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("the devices report", "devices"),
        ("device_latency_p95_ms", "device"),
        ("alert: DeviceSilent", "device"),
        ("The Update Framework", "tuf"),
        ("see the status page", "canary"),
        ("run `make serve`", "canary"),
        ("from paho.mqtt import client", "mqtt"),
    ],
)
def test_finds_a_mention(line: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text(f"one\n{line}\n")
    (found,) = places(tmp_path, DEVICE | SERVER | MQTT)
    assert found.startswith("notes.md:2: ") and word in found


def test_finds_the_name_of_a_file_and_keeps_other_meanings(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text('<meta content="width=device-width">\n"knowledge"\n')
    assert places(tmp_path, DEVICE) == ["fleet.json:0: fleet: fleet.json"]


# What only labels have. A `label` that arrives later may be a number: the word is not here.
OF_LABELS = re.compile(
    r"confusion matrix|majority|entropy|min_metric|calibration_error|ask_server_below|macro_"
    r"|accuracy:|per label\b|names of labels|fail.safe.label|label: review|/<label>|unsure labels"
    r"|classifies|`label`|confidence (?:below|of an answer)|low confidence",
    re.IGNORECASE,
)
OF_NUMBERS = re.compile(
    r"\bmax_error\b|min_coverage|answer_unit|interval_coverage|pinball|wape|mape"
)
OF_SETS = re.compile(r"max_label_gap|worst_label|mean_ap|labels_said|label_count|label:NAME")
OF_ONE_LABEL = re.compile(r"confusion matrix|majority|one folder per label|/<label>|[Cc]lassifies")
OF_SERIES = re.compile(r"forecast|horizon|seasonal_naive|\bmase\b")
ABSENT = {
    "classification": [OF_NUMBERS, OF_SETS, OF_SERIES],
    "multilabel": [OF_NUMBERS, OF_ONE_LABEL, OF_SERIES],
    "regression": [OF_LABELS, OF_SETS, OF_SERIES],
    "forecast": [OF_LABELS, OF_SETS],
}


@pytest.mark.parametrize("problem", ABSENT)
@pytest.mark.parametrize(
    ("modality", "target"), [("image", "edge"), ("audio", "hybrid"), ("tabular", "cloud")]
)
def test_mentions_only_its_type_of_answer(
    problem: str, modality: str, target: str, render: Render
) -> None:
    modality = "tabular" if problem == "forecast" else modality
    folder = render(modality=modality, target=target, problem=problem)
    # Code is shared by the types of answers, and names what it does for each.
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py")
    found = [
        f"{path.relative_to(folder)}:{number}: {line.strip()[:90]}"
        for path in paths
        if path.name != ".copier-answers.yml"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(pattern.search(line) for pattern in ABSENT[problem])
    ]
    assert found == []
