"""The retrain loop on a real render, with real git and DVC remotes, and a server for two APIs."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from repository import committed, done, git, run_in

DRIFT = ["InputDrift", "InputDrift", "ModelStale"]


class Services(ThreadingHTTPServer):
    """Prometheus and GitHub, as far as they are asked: what is firing, and pull requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.firing, self.pulls, self.refuses = [*DRIFT], list[dict[str, Any]](), False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Services

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/api/v1/query" and query["query"] == 'ALERTS{alertstate="firing"}':
            labels = {"__name__": "ALERTS", "alertstate": "firing", "severity": "ticket"}
            series = [labels | {"alertname": name} for name in self.server.firing]
            vector = [{"metric": metric, "value": [1.7e9, "1"]} for metric in series]
            result = {"resultType": "vector", "result": vector}
            return self.reply(200, {"status": "success", "data": result})
        assert url.path == "/repos/team/repo/pulls"
        found = [pull for pull in self.server.pulls if pull["state"] == query["state"]]
        if owner_and_head := query.get("head"):
            found = [pull for pull in found if pull["head"]["label"] == owner_and_head]
        self.reply(200, found)

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert self.path == "/repos/team/repo/pulls" or self.path == "/repos/team/repo/pulls?"
        assert self.headers["authorization"] == "Bearer a-token"
        if self.server.refuses:
            return self.reply(403, {"message": "Resource not accessible by integration"})
        number = len(self.server.pulls) + 1
        url = f"https://github.example/team/repo/pull/{number}"
        head = {"ref": content["head"], "label": f"team:{content['head']}"}
        pull = content | {"head": head, "state": "open", "html_url": url}
        self.server.pulls.append(pull)
        self.reply(201, pull)

    def reply(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def services() -> Iterator[Services]:
    server = Services()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def retrain(folder: Path, services: Services, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it as the workflow does."""
    github = {"GITHUB_API_URL": services.url, "GITHUB_REPOSITORY": "team/repo"}
    env = {"PROMETHEUS_URL": services.url, "GITHUB_TOKEN": "a-token", "FORCE": ""} | github | more
    return run_in(folder, "make", "-s", "retrain", **env)


def refused(folder: Path, services: Services, **more: str) -> str:
    result = retrain(folder, services, **more)
    assert result.returncode != 0 and "Traceback" not in result.stderr, result.stderr
    return result.stderr


def with_remote(folder: Path) -> Path:
    """Commit all there is, and push it to a bare repository beside it."""
    committed(folder)
    git(folder, "init", "-q", "--bare", "--initial-branch=main", "../origin.git")
    git(folder, "remote", "add", "origin", "../origin.git")
    git(folder, "push", "-q", "origin", "main")
    return folder


def state(folder: Path) -> tuple[str, ...]:
    """All of git, here and there, and what is not in git: the models and the releases."""
    files = [*folder.glob("models/*"), *folder.glob("releases/**/*")]
    sizes = sorted((str(path), path.read_bytes()) for path in files if path.is_file())
    refs = git(folder, "show-ref", "--head"), git(folder, "ls-remote", "origin")
    return *refs, git(folder, "status", "--porcelain"), str(hash(tuple(sizes)))


def put(folder: Path, file: str, **values: object) -> None:
    """Change keys of a YAML file, wherever they are in it."""
    path = folder / file
    for key, value in values.items():
        text, found = re.subn(rf"(?m)^( *{key}:) \S+", rf"\1 {value}", path.read_text())
        assert found == 1, key
        path.write_text(text)


def test_it_stops_before_it_trains(built: Path, services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(built, folder, symlinks=True)
    before = state(with_remote(folder))
    said = done(retrain(folder, services))
    assert "InputDrift (2), ModelStale (1)" in said and "nothing to do" in said
    assert "SCRATCH_DETECTOR_PROMETHEUS_URL" in refused(folder, services, PROMETHEUS_URL="")
    nowhere = services.url.replace("127.0.0.1", "127.0.0.2")
    assert "No Prometheus" in refused(folder, services, PROMETHEUS_URL=nowhere)
    assert "No Prometheus" in refused(folder, services, PROMETHEUS_URL=f"{services.url}/repos")
    services.firing += ["RetrainDue"]
    pull = {"html_url": "https://github.example/1", "state": "open"}
    services.pulls += [pull | {"head": {"label": "stranger:retrain/0"}}, pull]
    pull["head"] = {"label": "team:retrain/0"}
    assert "github.example/1 is open: merge or close it" in done(retrain(folder, services))
    head = git(folder, "rev-parse", "--short=12", "HEAD").strip()
    pull |= {"state": "closed", "head": {"label": f"team:retrain/{head}"}}
    assert "1 is closed: nothing was committed" in done(retrain(folder, services))
    assert state(folder) == before
    (folder / "params.yaml").write_text("mine, and not committed")
    (folder / "notes.txt").write_text("mine")
    for more in ({}, {"FORCE": "1"}, {"GITHUB_TOKEN": ""}):
        words = refused(folder, services, **more)
        assert "params.yaml" in words and "notes.txt" in words
    assert (folder / "params.yaml").read_text() == "mine, and not committed"
    git(folder, "stash", "--include-untracked")
    git(folder, "switch", "--quiet", "--detach")
    assert "No branch" in refused(folder, services, GITHUB_TOKEN="")
    assert len(services.pulls) == 2


TRAFFIC = """
import json, time
from scratch_detector.artifacts import RAW
from scratch_detector.examples import read_shards
from scratch_detector.predictor import Prediction
from scratch_detector.serving.journal import JOURNAL, Journal
import asyncio
journal = Journal(JOURNAL)
for number, example in enumerate(list(read_shards(RAW))[:300]):
    row = json.loads(example.payload)
    key = next(key for key, value in row.items() if isinstance(value, float))
    payload = json.dumps(row | {key: 1.01 * row[key]}, indent=1).encode()
    journal.note(str(number), payload, Prediction(example.label, 0.9, {}), "sha")
    asyncio.run(journal.label(str(number), example.label))
journal.close()
"""


@pytest.fixture(scope="module")
def deployed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose model, and labelled requests since then, are in git and in a DVC remote."""
    folder = tmp_path_factory.mktemp("deployed") / "repo"
    shutil.copytree(built, folder, symlinks=True)
    put(folder, "scope.yaml", payloads="all")
    done(run_in(folder, "make", "-s", "model", "release"))
    with_remote(folder)
    done(run_in(folder, "python", "-c", TRAFFIC))
    done(run_in(folder, "make", "-s", "feedback"))
    committed(folder)
    git(folder, "push", "-q", "origin", "main")
    done(run_in(folder, "dvc", "push", "-q"))
    return folder


@pytest.fixture
def project(deployed: Path, tmp_path: Path, services: Services) -> Path:
    """A clone of it, as CI has one, which has neither data nor models; a candidate is due."""
    services.firing += ["RetrainDue"]
    for name in ("origin.git", "scratch-detector-store"):
        shutil.copytree(deployed.parent / name, tmp_path / name)
    git(tmp_path, "clone", "-q", "origin.git", "repo")
    git(tmp_path / "repo", "remote", "set-url", "origin", "../origin.git")
    return tmp_path / "repo"


def pushed(project: Path, **values: object) -> None:
    for file in ("scope.yaml", "params.yaml"):
        keys = re.findall(r"(?m)^ *(\w+):", (project / file).read_text())
        put(project, file, **{key: value for key, value in values.items() if key in keys})
    committed(project)
    git(project, "push", "-q", "origin", "main")


@pytest.mark.long
def test_a_candidate_becomes_one_pull_request_and_nothing_else_changes(
    project: Path, services: Services
) -> None:
    head = git(project, "rev-parse", "HEAD").strip()
    branch = f"retrain/{head[:12]}"
    services.refuses = True
    words = refused(project, services)
    assert f"{branch} is pushed" in words and "403" in words and "pull-requests: write" in words
    assert branch in git(project, "ls-remote", "origin") and services.pulls == []
    services.refuses = False
    git(project, "branch", "-D", branch)
    assert "earlier run" in done(retrain(project, services)), "the next job has a clone of its own"
    (pull,) = services.pulls
    assert (pull["base"], pull["head"]["ref"]) == ("main", branch)
    assert pull["title"].startswith("Retrained model: ") and "worse" not in pull["title"]
    assert "InputDrift (2), ModelStale (1), RetrainDue (1)" in pull["body"]
    assert re.search(r"\| all held-out examples \| \d+ \| 0\.\d+ \| 0\.\d+ \|", pull["body"])
    assert re.search(r"\| recent labelled traffic \| [4-8]\d \|", pull["body"])
    assert re.search(r"```diff\n--- champion\n\+\+\+ candidate\n(.*\n)*\+\| online ", pull["body"])
    changed = git(project, "diff", "--name-only", "HEAD", branch).split()
    wanted = {"dvc.lock", "docs/card.md", "README.md", "reports/evaluate.json"}
    assert wanted | {"reports/retrain.json"} <= set(changed)
    allowed = r"dvc\.lock|docs/card\.md|README\.md|reports/.*|deploy/.*"
    assert all(re.fullmatch(allowed, name) for name in changed)
    assert git(project, "rev-parse", f"{branch}^", "HEAD").split() == [head] * 2
    assert git(project, "status", "--porcelain") == "" and git(project, "stash", "list") == ""
    assert not (project / "releases").exists()
    report = json.loads(git(project, "show", f"{branch}:reports/retrain.json"))
    assert report["champion"] == "models/shipped.onnx of the last commit"
    assert report["verdict"] in ("better", "equal within noise")
    assert "is open" in done(retrain(project, services)) and len(services.pulls) == 1
    git(project.parent, "clone", "-q", "--branch", branch, "origin.git", "reviewer")
    reviewer = project.parent / "reviewer"
    done(run_in(reviewer, "dvc", "pull", "-q"))
    assert "outputs match" in done(run_in(reviewer, "make", "-s", "verify"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("planted", "words"),
    [
        ({"epochs": 1}, "no candidate that is good enough"),
        (
            {
                "epochs": 1,
                "min_metric": 0.3,
                "min_gain_over_baseline": -1,
                "min_int8_agreement": 0.1,
                "max_int8_drop": 0.9,
            },
            "champion is better",
        ),
    ],
    ids=["breaks a promise", "worse than the champion"],
)
def test_a_worse_candidate_is_red_and_opens_nothing(
    planted: dict[str, float], words: str, project: Path, services: Services
) -> None:
    pushed(project, **planted)
    refs = git(project, "show-ref"), git(project, "ls-remote", "origin")
    said = refused(project, services)
    assert words in said and "git stash" in said
    head = git(project, "rev-parse", "HEAD").strip()
    tag = f"{head}\trefs/tags/tried/{head[:12]}\n"
    assert git(project, "ls-remote", "origin") == refs[1] + tag and services.pulls == []
    assert git(project, "show-ref") == refs[0]
    assert git(project, "status", "--porcelain"), "what was trained is there to look at"
    git(project.parent, "clone", "-q", "origin.git", "later")
    assert "nothing came of it" in done(retrain(project.parent / "later", services))
    assert not (project.parent / "later/models/model.pt").exists()
    if words == "champion is better":
        report = json.loads((project / "reports/retrain.json").read_text())
        assert report["verdict"] == "worse" and report["comparisons"][0]["gain_at_most"] < 0


@pytest.mark.long
def test_by_hand_the_branch_stays_here_and_the_released_champion_is_who_counts(
    deployed: Path, services: Services, tmp_path: Path
) -> None:
    shutil.copytree(deployed.parent, tmp_path / "all", symlinks=True)
    project = tmp_path / "all/repo"
    before = state(project)
    said = done(retrain(project, services, GITHUB_TOKEN="", FORCE="1"))
    branch = "retrain/" + git(project, "rev-parse", "--short=12", "HEAD").strip()
    assert f"git push origin {branch}" in said and services.pulls == []
    report = json.loads(git(project, "show", f"{branch}:reports/retrain.json"))
    assert re.fullmatch(r"release [0-9a-f]{12} \(scratch-detector@v1\)", report["champion"])
    assert report["reason"] == "By hand."
    git(project, "branch", "-m", branch, "kept")
    git(project, "branch", "-D", "kept")
    assert state(project) == before
