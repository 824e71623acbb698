"""Late labels, deletion, and what a server stores of payloads."""

import json
import math
import re
import shutil
import signal
from pathlib import Path

import pytest

from repository import done, run_in
from server import Server, command, serving

SECRET = "902109174433"


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    shutil.copytree(released, tmp_path / "repo", symlinks=True)
    return tmp_path / "repo"


def set_values(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^{key}: \S+", f"{key}: {value}", path.read_text())
        assert count == 1
        path.write_text(text)


def feedback(
    server: Server, id: str, label: str, slice: str = "", **headers: str
) -> tuple[int, dict[str, object]]:
    body = json.dumps({"id": id, "label": label} | ({"slice": slice} if slice else {})).encode()
    reply = server.ask("/feedback", body, content_type="application/json", **headers)
    return reply.status, reply.json


def predict(server: Server, id: str) -> str:
    reply = server.ask(x_request_id=id)
    assert reply.status == 200 and reply.json["id"] == id
    return str(reply.json["label"])


def confidence(server: Server) -> float:
    return float(server.ask().json["confidence"])


def with_secret(payload: bytes) -> bytes:
    """Append the secret to the decimals of a number, too far behind the point to change it."""
    secret = re.sub(rb"(\d+\.\d+)", rb"\g<1>" + b"0" * 20 + SECRET.encode(), payload, count=1)
    assert secret != payload and json.loads(secret) == json.loads(payload)
    return secret


def files_with(folder: Path, text: str) -> list[str]:
    """Return the files written by a server that contain a text."""
    written = [*(folder / "data").rglob("*"), *folder.glob("*.log")]
    return [p.name for p in written if p.is_file() and text.encode() in p.read_bytes()]


def test_labels_are_matched_and_survive_a_kill(project: Path) -> None:
    set_values(project, "params.yaml", labelled_window=20)
    with serving(project, command="serve", log=project / "server.log") as server:
        label = predict(server, "r-0")
        assert math.isnan(server.metric("labelled_quality"))
        assert math.isnan(server.metric("label_last_timestamp_seconds"))
        for i in range(20):
            assert predict(server, f"r-{i}") == label
            assert feedback(server, f"r-{i}", label, "north") == (200, {"joined": True})
        assert server.metric('labelled_slice_quality{slice="north"}') == 1
        assert feedback(server, "r-0", label, "no slice")[0] == 422
        assert server.metric("labelled_quality") == 1
        assert server.metric("calibration_error") == pytest.approx(1 - confidence(server), abs=1e-6)
        assert feedback(server, "r-0", label, "north") == (200, {"joined": True})
        assert feedback(server, "unknown", label) == (200, {"joined": False})
        assert server.metric('labels_total{joined="no"}') == 1
        status, body = feedback(server, "r-0", "no such label")
        assert status == 422 and "no such label" in json.dumps(body)
        reply = server.ask("/feedback", b"{", content_type="application/json")
        assert reply.status == 422 and reply.json["detail"][0]["field"] == "json"
        last_s = server.metric("label_last_timestamp_seconds")
        assert last_s > 1e9
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    with serving(project, command="serve", log=project / "server.log") as server:
        assert server.metric("labelled_window_fill_ratio") == 1
        assert server.metric("labelled_quality") == 1
        assert server.metric("label_last_timestamp_seconds") == last_s
        assert server.metric('labelled_slice_quality{slice="north"}') == 1


def test_wrong_predictions_lower_the_quality(project: Path) -> None:
    set_values(project, "params.yaml", labelled_window=20)
    labels = json.loads((project / "reports/ingest.json").read_text())["labels"]
    with serving(project, command="serve", log=project / "server.log") as server:
        (wrong, *_) = set(labels) - {predict(server, "r-0")}
        for i in range(20):
            predict(server, f"r-{i}")
            assert feedback(server, f"r-{i}", wrong)[0] == 200
        assert server.metric("labelled_quality") == 0
        assert server.metric("labelled_quality_at_most") < 0.5


def test_labels_and_deletion_require_the_api_key(project: Path) -> None:
    with serving(
        project, command="serve", log=project / "server.log", SCRATCH_DETECTOR_API_KEYS="a-key"
    ) as server:
        assert feedback(server, "r", "x")[0] == 401
        assert server.ask("/requests/r", method="DELETE").status == 401
        assert feedback(server, "r", "x", x_api_key="a-key")[0] == 422
        assert server.ask("/requests/r", method="DELETE", x_api_key="a-key").status == 404


@pytest.mark.parametrize("payloads", ["none", "hashed", "all"])
def test_payloads_are_stored_only_if_allowed(payloads: str, project: Path) -> None:
    set_values(project, "scope.yaml", payloads=payloads)
    with serving(project, command="serve", log=project / "server.log") as server:
        secret = with_secret(server.payload)
        assert server.ask(body=secret, x_request_id="r-1").status == 200
        assert server.ask(body=b'{"mail": "%s"}' % SECRET.encode()).status == 422
        label = predict(server, "r-2")
        assert feedback(server, "r-1", label)[1] == {"joined": True}
        files = files_with(project, SECRET)
        assert bool(files) == (payloads == "all") and "server.log" not in files
        assert SECRET not in server.ask("/metrics").body.decode()
        assert server.ask("/requests/r-1", method="DELETE").json == {"rows": 2}
        assert files_with(project, SECRET) == [] and feedback(server, "r-1", label)[1] == {
            "joined": False
        }
        assert files_with(project, "r-2"), "other requests are still stored"


def test_a_server_without_a_writable_journal_still_predicts(project: Path) -> None:
    (project / "data/journal.db").mkdir()
    with serving(project, command="serve", log=project / "server.log") as server:
        label = predict(server, "r-0")
        assert feedback(server, "r-0", label) == (200, {"joined": False})
    assert "cannot open the journal" in (project / "server.log").read_text()


RAW = """
import json
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards, split_of
rows = [e for e in read_shards(RAW) if e.slice == "feedback"]
print(json.dumps({e.id: [e.label, split_of(e.id), e.payload.decode()] for e in rows}))
"""


def feedback_examples(folder: Path) -> dict[str, list[str]]:
    """Return the examples from feedback: label, split and payload."""
    examples: dict[str, list[str]] = json.loads(done(run_in(folder, "python", "-c", RAW)))
    return examples


def test_labelled_requests_become_examples_in_all_splits(project: Path) -> None:
    set_values(project, "scope.yaml", payloads="all")
    labels = json.loads((project / "reports/ingest.json").read_text())["labels"]
    first, second = list(labels)[:2]
    with serving(project, command="serve", log=project / "server.log") as server:
        row = json.loads(server.payload)
        (number,) = [key for key, value in row.items() if isinstance(value, float)][:1]
        bodies = [json.dumps(row | {number: row[number] * (0.5 + i / 100)}) for i in range(40)]
        for i, body in enumerate([*bodies, bodies[0], server.payload.decode()]):
            assert server.ask(body=body.encode(), x_request_id=f"r-{i}").status == 200
            if i not in (38, 39):  # these two stay unlabelled
                assert feedback(server, f"r-{i}", second)[0] == 200
        assert feedback(server, "r-1", first)[0] == 200, "a corrected label"
        output = command(project, "feedback")
    assert "39 examples" in output and f"{first} 1, {second} 38" in output
    command(project, "ingest")
    examples = feedback_examples(project)
    assert len(examples) == 38, "one was in the data already"
    assert {body: label for label, _, body in examples.values()} == {
        body: first if i == 1 else second for i, body in enumerate(bodies[:38])
    }
    assert {split for _, split, _ in examples.values()} == {"train", "validation", "test"}
    assert "39 examples in data/feedback, 0 of them new" in command(project, "feedback")
    command(project, "ingest")
    assert feedback_examples(project) == examples
    with serving(project, command="serve", log=project / "server.log") as server:
        for i in range(38):
            assert feedback(server, f"r-{i}", first)[0] == 200, "all labels are corrected"
    assert "39 examples in data/feedback, 0 of them new" in command(project, "feedback")
    command(project, "ingest")
    relabelled = {id: [first, *rest] for id, (_, *rest) in examples.items()}
    assert feedback_examples(project) == relabelled
    for path in (project / "data/feedback").iterdir():
        path.unlink()
    result = run_in(project, "python", "-m", "scratch_detector", "ingest")
    assert result.returncode == 1 and "data/feedback" in result.stderr


def test_an_input_that_exists_already_becomes_no_second_example(project: Path) -> None:
    """The same input in other bytes could end up in two splits."""
    set_values(project, "scope.yaml", payloads="all")
    with serving(project, command="serve", log=project / "server.log") as server:
        row = json.loads(server.payload)
        (number,) = [key for key, value in row.items() if isinstance(value, float)][:1]
        new = row | {number: row[number] * 1.1}
        same = [json.dumps(new, indent=spaces) for spaces in range(20)]
        for i, body in enumerate([json.dumps(row, indent=2), *same]):
            reply = server.ask(body=body.encode(), x_request_id=f"r-{i}")
            assert feedback(server, f"r-{i}", reply.json["label"])[0] == 200
    assert "21 examples in data/feedback" in command(project, "feedback")
    command(project, "ingest")
    assert [json.loads(body) for _, _, body in feedback_examples(project).values()] == [new]
    command(project, "validate")
    assert json.loads((project / "reports/validate.json").read_text())["leaks"] == 0


READ = """
from pathlib import Path
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards
from scratch_detector.pipeline.ingest import FEEDBACK
for folder in (FEEDBACK, RAW):
    if any(folder.glob("*.parquet")):
        print(*(example.payload for example in read_shards(folder)))
print(*(path.read_bytes() for path in Path("data").rglob("*") if path.is_file()))
"""


def training_data(folder: Path) -> str:
    """Return everything that a training reads, and all files under data/."""
    command(folder, "ingest")
    command(folder, "featurize")
    return done(run_in(folder, "python", "-c", READ))


def test_a_deleted_payload_leaves_the_examples_for_good(project: Path) -> None:
    set_values(project, "scope.yaml", payloads="all")
    with serving(project, command="serve", log=project / "server.log") as server:
        row = json.loads(server.payload)
        (number,) = [key for key, value in row.items() if isinstance(value, float)][:1]
        other, new = (json.dumps(row | {number: row[number] * f}).encode() for f in (0.8, 0.9))
        secret = with_secret(new)
        label = server.ask(body=secret, x_request_id="r-1").json["label"]
        assert server.ask(body=other, x_request_id="r-2").status == 200
        assert all(feedback(server, id, label)[1] == {"joined": True} for id in ("r-1", "r-2"))
        assert "2 examples" in command(project, "feedback")
        assert SECRET in training_data(project)
        assert server.ask("/requests/r-1", method="DELETE").json == {"rows": 2}
        assert "1 examples in data/feedback, 0 of them new, 1 removed" in command(
            project, "feedback"
        )
        assert SECRET not in training_data(project)
        assert server.ask(body=secret, x_request_id="r-3").status == 200
        assert feedback(server, "r-3", label)[1] == {"joined": True}
        assert "1 examples in data/feedback, 0 of them new" in command(project, "feedback")
        for id in ("r-2", "r-3"):
            assert server.ask(f"/requests/{id}", method="DELETE").json == {"rows": 2}
        assert "0 examples in data/feedback" in command(project, "feedback")
    assert SECRET not in training_data(project) and feedback_examples(project) == {}
    assert files_with(project, SECRET) == []


HELD_OUT = """
import numpy as np, torch
from scratch_detector.artifacts import CHECKPOINT, FEATURES
from scratch_detector.pipeline.train import train
def damaged(split):
    with np.load(FEATURES) as file:
        data = dict(file)
    rows = data["split"] == split
    data["x"][rows] *= -1
    data["y"][rows] = 0
    np.savez(FEATURES, **data)
    return weights()
def weights():
    train()
    return torch.cat([w.ravel().double() for w in torch.load(CHECKPOINT)["weights"].values()])
before = weights()
print("same:", bool((damaged("test") == before).all()), bool((damaged("train") == before).all()))
"""


def test_held_out_examples_do_not_change_the_weights(project: Path) -> None:
    assert "same: True False" in done(run_in(project, "python", "-c", HELD_OUT))


def test_feedback_without_stored_payloads_names_the_setting(project: Path) -> None:
    with serving(project, command="serve", log=project / "server.log") as server:
        feedback(server, "r-0", predict(server, "r-0"))
        result = run_in(project, "python", "-m", "scratch_detector", "feedback")
    assert result.returncode == 1 and "payloads: all" in result.stderr
