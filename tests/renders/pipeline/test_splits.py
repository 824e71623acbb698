"""Splits of a user's own data: by group, by time and as given."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import Render
from repository import done, run_in

PEOPLE, PHOTOS = 24, 50
LIST_ROWS = """
import json
from pathlib import Path
from scratch_detector.examples import read_shards
rows = read_shards(Path("data/raw"))
print(json.dumps([row._replace(payload=None)._asdict() for row in rows]))
"""


def make_project(render: Render, folder: Path, modality: str, split: dict[str, object]) -> Path:
    shutil.copytree(render(modality=modality, target="cloud"), folder)
    path = folder / "schema.yaml"
    path.write_text(re.sub(r"(?m)^split: .*$", f"split: {split}", path.read_text()))
    assert yaml.safe_load(path.read_text())["split"] == split
    return folder


def run_ingest(project: Path, source: Path) -> str:
    return done(run_in(project, "python", "-m", "scratch_detector", "ingest", str(source)))


def read_rows(project: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(done(run_in(project, "python", "-c", LIST_ROWS)))
    return rows


def take_photos(folder: Path) -> Path:
    """Write photos of people; whether a person is ill is a coin flip, so nothing can be learned."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:48, :48]
    ill = rng.permutation([0, 1] * (PEOPLE // 2))
    for person in range(PEOPLE):
        angle, pitch = np.pi * person / PEOPLE, 0.35 + 0.5 * (person * 7 % PEOPLE) / PEOPLE
        label = folder / ("ill" if ill[person] else "well")
        label.mkdir(parents=True, exist_ok=True)
        for i in range(PHOTOS):
            place = x * np.cos(angle) + y * np.sin(angle)
            wave = 128 + 55 * np.sin(pitch * place + rng.uniform(0, 2 * np.pi))
            noisy = np.clip(wave[..., None] + rng.normal(0, 12, (48, 48, 3)), 0, 255)
            name = f"person{person:02}-2026-{1 + i % 12:02}-01-{i:02}.png"
            Image.fromarray(noisy.astype(np.uint8)).save(label / name)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return take_photos(tmp_path_factory.mktemp("photos") / "people")


def test_photos_of_a_person_are_in_one_split(render: Render, tmp_path: Path, photos: Path) -> None:
    rule = {"by": "group", "pattern": r"person\d+"}
    project = make_project(render, tmp_path / "repo", "image", rule)
    printed = run_ingest(project, photos)
    assert r"divided by group (pattern person\d+)" in printed
    rows = read_rows(project)
    pairs = {(row["group"], row["split"]) for row in rows}
    assert len(pairs) == PEOPLE and len(rows) == PEOPLE * PHOTOS
    assert {(row["label"], row["split"]) for row in rows} == {
        (label, split) for label in ("ill", "well") for split in ("train", "validation", "test")
    }
    written = yaml.safe_load((project / "schema.yaml").read_text())["split"]
    assert {name: written[name] for name in rule} == rule
    run_ingest(project, photos)
    assert read_rows(project) == rows


@pytest.mark.long
def test_labels_of_strangers_cannot_be_learned(
    render: Render, tmp_path: Path, photos: Path
) -> None:
    """With a photo-by-photo split, the same labels pass: the network recognises the person."""
    rule = {"by": "group", "pattern": r"person\d+"}
    project = make_project(render, tmp_path / "repo", "image", rule)
    run_ingest(project, photos)
    for stage in ("validate", "featurize", "train", "export", "compress", "evaluate", "benchmark"):
        done(run_in(project, "python", "-m", "scratch_detector", stage))
    checked = run_in(project, "python", "-m", "scratch_detector", "check")
    assert checked.returncode == 1
    assert re.search(r"(?m)^FAIL  accuracy, lower bound", checked.stdout)


def test_folders_that_are_splits_are_used_as_such(
    render: Render, tmp_path: Path, photos: Path
) -> None:
    source = tmp_path / "divided"
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        folder = source / ("train", "val", "test")[i % 3] / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    project = make_project(render, tmp_path / "repo", "image", {"by": "given", "folder": 1})
    run_ingest(project, source)
    rows = read_rows(project)
    assert {row["label"] for row in rows} == {"ill", "well"}
    names = {"train": "train", "val": "validation", "test": "test"}
    assert all(names[row["id"].partition("/")[0]] == row["split"] for row in rows)


def test_the_test_photos_are_the_latest(render: Render, tmp_path: Path, photos: Path) -> None:
    rule = {"by": "time", "pattern": r"\d{4}-\d\d-\d\d"}
    project = make_project(render, tmp_path / "repo", "image", rule)
    run_ingest(project, photos)
    days: dict[str, list[str]] = {}
    for row in read_rows(project):
        days.setdefault(row["split"], []).append(row["group"])
    assert max(days["train"]) < min(days["validation"])
    assert max(days["validation"]) < min(days["test"])
    assert max(days["test"]) == "2026-12-01"


def write_table(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["customer", "day", "x", "y", "label"], *rows])
    return path


def test_a_column_that_divides_a_table_is_not_an_input(render: Render, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows: list[list[object]] = [
        [
            f"customer-{i % 50}",
            f"2026-{1 + i % 12:02}-03",
            *rng.normal(0, 1, 2).round(4),
            "ab"[i % 2],
        ]
        for i in range(400)
    ]
    rows = [[customer, day, x, y, "ab"[int(x > y)]] for customer, day, x, y, _ in rows]
    source = write_table(tmp_path / "table.csv", rows)
    for rule in ({"by": "group", "column": "customer"}, {"by": "time", "column": "day"}):
        project = make_project(render, tmp_path / str(rule["by"]), "tabular", rule)
        path = project / "schema.yaml"
        other = {"group": "day", "time": "customer"}[rule["by"]]
        text = path.read_text().replace("slice_column: channel", 'slice_column: ""')
        path.write_text(f"{text}ignored_columns: [{other}]\n")
        run_ingest(project, source)
        assert list(yaml.safe_load(path.read_text())["columns"]) == ["x", "y"]
        assert len({(row["group"], row["split"]) for row in read_rows(project)}) in (50, 12)


def test_a_row_added_on_top_moves_no_other_row(render: Render, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(0, 1, (300, 2)).round(4)
    rows: list[list[object]] = [["c", "d", x, y, "ab"[int(x > y)]] for x, y in numbers]
    project = make_project(render, tmp_path / "repo", "tabular", {"by": "payload"})
    path = project / "schema.yaml"
    text = path.read_text().replace("slice_column: channel", 'slice_column: ""')
    path.write_text(f"{text}ignored_columns: [customer, day]\n")
    run_ingest(project, write_table(tmp_path / "table.csv", rows))
    before = [row["split"] for row in read_rows(project)]
    run_ingest(project, write_table(tmp_path / "table.csv", [["c", "d", 0.5, 0.25, "b"], *rows]))
    assert [row["split"] for row in read_rows(project)][1:] == before
