"""`verify` detects damaged files that DVC trusts; push and pull transfer identical files.

One project runs up to `featurize`; each test damages a copy.
"""

import filecmp
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from environment import environment, requirements, variables
from repository import damage, done, run_in

FEATURES = "data/features.npz"


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def recorded(folder: Path, name: str) -> str:
    """Return the hash of an output in `dvc.lock`."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}[name]


def stored(store: Path, md5: str) -> Path:
    return store / "files" / "md5" / md5[:2] / md5[2:]


def test_pipeline_runs_before_the_first_commit(built: Path) -> None:
    assert run_in(built, "git", "rev-parse", "HEAD").returncode != 0
    assert "outputs match dvc.lock" in done(run_in(built, "make", "verify"))


def test_verify_detects_a_damaged_cache_that_dvc_does_not(project: Path) -> None:
    expected = recorded(project, FEATURES)
    damage(stored(project / ".dvc" / "cache", expected))
    (project / FEATURES).unlink()
    done(run_in(project, "uv", "run", "dvc", "checkout", FEATURES))
    assert hashlib.md5((project / FEATURES).read_bytes()).hexdigest() != expected
    # If DVC ever detects this, `verify` can be removed.
    status = run_in(project, "uv", "run", "dvc", "status", "featurize")
    assert status.returncode == 0 and FEATURES not in status.stdout
    caught = run_in(project, "make", "verify")
    assert caught.returncode != 0 and f"{FEATURES}: " in caught.stderr
    assert f"not {expected}" in caught.stderr and " outputs differ from dvc.lock:" in caught.stderr


@pytest.mark.parametrize("name", [FEATURES, "data/raw", "reports/validate.json"])
def test_verify_names_a_changed_output(name: str, project: Path) -> None:
    path = project / name
    damage(next(path.iterdir()) if path.is_dir() else path)
    caught = run_in(project, "make", "verify")
    assert caught.returncode != 0 and f"{name}: " in caught.stderr
    assert f"not {recorded(project, name)}" in caught.stderr


def test_verify_names_a_missing_output(project: Path) -> None:
    (project / FEATURES).unlink()
    shutil.rmtree(project / "data" / "raw")
    caught = run_in(project, "make", "verify")
    assert caught.returncode != 0
    assert f"{FEATURES}: missing" in caught.stderr and "data/raw: missing" in caught.stderr


def test_verify_needs_a_lock(project: Path) -> None:
    (project / "dvc.lock").unlink()
    caught = run_in(project, "make", "verify")
    assert caught.returncode != 0 and "dvc.lock is missing" in caught.stderr


def cloned(project: Path) -> Path:
    """Push data to the store next to the project, commit, and clone like a colleague."""
    done(run_in(project, "uv", "run", "dvc", "push"))
    done(run_in(project, "git", "add", "-A"))
    done(run_in(project, "git", "commit", "-qm", "start"))
    done(run_in(project, "git", "clone", "-q", ".", "../clone"))
    return project.parent / "clone"


def pull(clone: Path) -> subprocess.CompletedProcess[str]:
    """Pull the outputs of the stages up to `featurize`; later ones did not run."""
    return run_in(clone, "uv", "run", "dvc", "pull", "--with-deps", "featurize")


def test_colleague_pulls_identical_data(project: Path) -> None:
    clone = cloned(project)
    assert (project.parent / "scratch-detector-store").is_dir()
    assert not (clone / FEATURES).exists()
    done(pull(clone))
    assert filecmp.cmp(project / FEATURES, clone / FEATURES, shallow=False)
    assert "outputs match dvc.lock" in done(run_in(clone, "make", "verify"))


def test_pull_rejects_a_damaged_store(project: Path) -> None:
    clone = cloned(project)
    damage(stored(project.parent / "scratch-detector-store", recorded(project, FEATURES)))
    refused = pull(clone)
    assert refused.returncode != 0 and FEATURES in refused.stderr
    assert pull(clone).returncode != 0, "a rejected file must not be accepted the second time"
    caught = run_in(clone, "make", "verify")
    assert caught.returncode != 0 and f"{FEATURES}: " in caught.stderr


def test_hash_of_a_folder_matches_dvc(project: Path) -> None:
    folder = project / "data" / "sounds"
    names = ("a/b.txt", "a-b/c.txt", "a.txt", "A.txt", "a b/ü.txt", "日本/ñandú/1.txt", "empty")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else name)
    done(run_in(project, "uv", "run", "dvc", "add", "data/sounds"))
    (out,) = yaml.safe_load((project / "data" / "sounds.dvc").read_text())["outs"]
    lock = {"stages": {"sounds": {"outs": [{"path": "data/sounds", "md5": out["md5"]}]}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert out["nfiles"] == len(names)
    assert "1 outputs match" in done(run_in(project, "make", "verify"))
    damage(folder / names[-2])
    assert run_in(project, "make", "verify").returncode != 0


def ingest_table(project: Path, rows: int) -> None:
    """Ingest a table that is always written to the same path."""
    table, schema = project.parent / "mine.csv", project / "schema.yaml"
    sizes = [row % 7 + row / 1000 for row in range(rows)]
    lines = [f"{size:.3f},{i % 3},{'yes' if size > 3 else 'no'}" for i, size in enumerate(sizes)]
    table.write_text("\n".join(["size,weight,label", *lines]))
    schema.write_text(schema.read_text().replace("slice_column: channel", 'slice_column: ""'))
    command = ["uv", "run", "python", "-m", "scratch_detector", "ingest", str(table)]
    assert f"{rows} examples" in done(run_in(project, *command))


def test_next_model_learns_from_new_data_with_the_same_name(project: Path) -> None:
    for rows in (200, 300):
        ingest_table(project, rows)
        ingested = {shard.name: shard.read_bytes() for shard in project.glob("data/raw/*")}
        done(run_in(project, "uv", "run", "dvc", "repro", "ingest"))
        assert ingested == {shard.name: shard.read_bytes() for shard in project.glob("data/raw/*")}


def test_columns_deleted_from_the_schema_are_not_read(project: Path) -> None:
    ingest_table(project, 200)
    done(run_in(project, "uv", "run", "dvc", "repro", "ingest"))
    schema = yaml.safe_load((project / "schema.yaml").read_text())
    del schema["columns"]["weight"]
    (project / "schema.yaml").write_text(yaml.safe_dump(schema))
    show = "from scratch_detector.examples import *; print(next(read_shards(Path('data/raw'))))"
    done(run_in(project, "uv", "run", "dvc", "repro", "ingest"))
    first = done(run_in(project, "python", "-c", show))
    assert '"size"' in first and "weight" not in first


MODEL = """
import json
import numpy as np
from onnx import TensorProto, helper, save
x, logits = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in ("x", "logits"))
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["logits"])], "g", [x], [logits])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
facts = {"labels": ["no", "yes"], "trained_at": 0.0, "features_version": 1}
helper.set_model_props(model, {name: json.dumps(fact) for name, fact in facts.items()})
save(model, "models/tiny.onnx")
"""
PREDICT = """
from pathlib import Path
import numpy as np
from scratch_detector.predictor import Predictor
print(Predictor(Path("models/tiny.onnx")).outputs(np.zeros((1, 2), np.float32)))
"""


@pytest.mark.parametrize("script", [PREDICT, "import onnxruntime"], ids=["ours", "theirs"])
def test_predictor_leaves_no_usage_records(script: str, project: Path) -> None:
    """Without our package, onnxruntime writes a database with an id of the machine."""
    home = project.parent / "home"
    home.mkdir()
    (project / "models").mkdir(exist_ok=True)
    env = variables(project, environment(requirements(project, "serve", "train", "dev")))
    bare = {name: env[name] for name in ("PATH", "PYTHONPATH")}
    bare |= {"HOME": str(home), "TMPDIR": str(home)}
    for code in (MODEL, script):
        ran = subprocess.run(["python", "-c", code], cwd=project, env=bare, capture_output=True)
        assert ran.returncode == 0, ran.stderr.decode()
    left = [path.name for path in home.rglob("*") if path.is_file()]
    assert left == [] if script == PREDICT else "onnxruntime.db" in left
