"""Retraining in a real render, with real git and DVC remotes and simulated services.

The services are Prometheus and GitHub. Most tests replace `gh` by a script for pull requests only;
one test runs the real `gh`, if it is installed, against the simulated GitHub over HTTPS.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from conftest import Render
from environment import environment, requirements, variables
from repository import commit_files, done, git, run_in
from test_pipeline import deployed_variables
from watching import tool

DRIFT = ["InputDrift", "InputDrift", "ModelStale"]
REFUSED = "Resource not accessible by integration (createPullRequest)"


# A stand-in for `gh`, which prints the answers of the server below.
GH = """
import json, os, sys
from urllib.request import Request, urlopen
given = "" if sys.stdin.isatty() else sys.stdin.read()
call = {"argv": sys.argv[1:], "given": given, "token": os.environ.get("GH_TOKEN", "")}
url = os.environ["SERVICES"] + "/gh"
answer = json.load(urlopen(Request(url, json.dumps(call).encode())))
print(answer["stdout"])
print(answer["stderr"], file=sys.stderr)
sys.exit(answer["status"])
"""
OPTIONS = {
    "list": {"--repo", "--state", "--head", "--limit", "--json"},
    "create": {"--repo", "--head", "--base", "--title", "--body-file"},
}


class Services(ThreadingHTTPServer):
    """Prometheus with its firing alerts, and GitHub with its pull requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.firing, self.pulls, self.refuses = [*DRIFT], list[dict[str, Any]](), False

    def gh(self, argv: list[str], given: str, token: str) -> dict[str, Any]:
        """Answer `gh pr list` and `gh pr create`."""
        (pr, verb), options = argv[:2], dict(zip(argv[2::2], argv[3::2], strict=True))
        assert pr == "pr" and options.keys() <= OPTIONS[verb], argv
        assert options["--repo"] == "github.com/team/repo"
        if token != "a-token":
            return {"stdout": "", "stderr": "HTTP 401: Bad credentials", "status": 1}
        if verb == "list":
            wanted = {"open": ["OPEN"], "closed": ["CLOSED", "MERGED"]}[options["--state"]]
            pulls = self.list_pulls(wanted, options.get("--head"))
            keys = options["--json"].split(",")
            shown = [{key: pull[key] for key in keys} for pull in pulls[: int(options["--limit"])]]
            return {"stdout": json.dumps(shown), "stderr": "", "status": 0}
        if self.refuses:
            words = f"pull request create failed: GraphQL: {REFUSED}"
            return {"stdout": "", "stderr": words, "status": 1}
        assert options["--body-file"] == "-"
        url = self.create(options["--title"], given, options["--head"], options["--base"])
        return {"stdout": url, "stderr": "", "status": 0}

    def list_pulls(self, states: list[str], head: str | None) -> list[dict[str, Any]]:
        """Return pull requests in these states, of one branch or of any."""
        pulls = [pull for pull in self.pulls if pull["state"] in states]
        return [pull for pull in pulls if head in (None, pull["headRefName"])]

    def create(self, title: str, body: str, head: str, base: str) -> str:
        """Open a pull request; return its address."""
        url = f"https://github.example/team/repo/pull/{len(self.pulls) + 1}"
        pull = {"title": title, "body": body, "headRefName": head, "baseRefName": base}
        self.pulls.append(pull | {"isCrossRepository": False, "state": "OPEN", "url": url})
        return url

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
        self.reply(404, {})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/gh":
            return self.reply(200, self.server.gh(**content))
        self.graphql(content["query"], content["variables"])

    def graphql(self, query: str, given: dict[str, Any]) -> None:
        """Answer the queries of the real gh, by their names."""
        if self.headers["authorization"] != "token a-token":
            return self.reply(401, {"message": "Bad credentials"})
        ((_, name),) = re.findall(r"(query|mutation) (\w+)\(", query)
        repository: dict[str, Any] = {"id": "R_1", "name": "repo", "owner": {"login": "team"}}
        repository |= {"viewerPermission": "WRITE", "defaultBranchRef": {"name": "main"}}
        if name == "PullRequestCreate":
            if self.server.refuses:
                error = {"message": REFUSED.partition(" (")[0], "path": ["createPullRequest"]}
                return self.reply(200, {"data": None, "errors": [error]})
            new = given["input"]
            names = ("title", "body", "headRefName", "baseRefName")
            url = self.server.create(*(new[key] for key in names))
            made = {"createPullRequest": {"pullRequest": {"id": "P_1", "url": url}}}
            return self.reply(200, {"data": made})
        if name == "PullRequestList":
            pulls = self.server.list_pulls(given["state"], given.get("headBranch"))
            end = {"hasNextPage": False, "endCursor": ""}
            repository["pullRequests"] = {"nodes": pulls, "totalCount": len(pulls), "pageInfo": end}
        elif name == "PullRequestForBranch":
            repository["pullRequests"] = {"nodes": []}
        self.reply(200, {"data": {"repository": repository}})

    def reply(self, status: int, content: object) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
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
    """Run `make retrain` as the workflow does, with the `gh` from above."""
    place = folder.parent / "gh"
    place.mkdir(exist_ok=True)
    (place / "gh").write_text(f"#!{sys.executable}\n{GH}")
    (place / "gh").chmod(0o755)
    github = {"GITHUB_TOKEN": "a-token", "GITHUB_REPOSITORY": "team/repo"}
    env = {"PROMETHEUS_URL": services.url, "SERVICES": services.url, "FORCE": ""}
    env["PATH"] = f"{place}{os.pathsep}{paths(folder)['PATH']}"
    return run_in(folder, "make", "-s", "retrain", **env | github | more)


def paths(folder: Path) -> dict[str, str]:
    return variables(folder, environment(requirements(folder, "serve", "train", "dev")))


def expect_refusal(folder: Path, services: Services, **more: str) -> str:
    result = retrain(folder, services, **more)
    assert result.returncode != 0 and "Traceback" not in result.stderr, result.stderr
    return result.stderr


def with_remote(folder: Path) -> Path:
    """Commit all files, and push them to a new bare repository."""
    commit_files(folder)
    git(folder, "init", "-q", "--bare", "--initial-branch=main", "../origin.git")
    git(folder, "remote", "add", "origin", "../origin.git")
    git(folder, "push", "-q", "origin", "main")
    return folder


def state(folder: Path) -> tuple[str, ...]:
    """The state of git, here and at the remote, and of models and releases."""
    files = [*folder.glob("models/*"), *folder.glob("releases/**/*")]
    sizes = sorted((str(path), path.read_bytes()) for path in files if path.is_file())
    refs = git(folder, "show-ref", "--head"), git(folder, "ls-remote", "origin")
    return *refs, git(folder, "status", "--porcelain"), str(hash(tuple(sizes)))


def put(folder: Path, file: str, **values: object) -> None:
    """Change values of a YAML file, by key at any depth."""
    path = folder / file
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^( *{key}:) \S+", rf"\1 {value}", path.read_text())
        assert count == 1, key
        path.write_text(text)


def test_stops_before_training_without_a_reason(
    built: Path, services: Services, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(built, folder, symlinks=True)
    before = state(with_remote(folder))
    output = done(retrain(folder, services))
    assert "InputDrift (2), ModelStale (1)" in output and "nothing to do" in output
    assert "SCRATCH_DETECTOR_PROMETHEUS_URL" in expect_refusal(folder, services, PROMETHEUS_URL="")
    nowhere = services.url.replace("127.0.0.1", "127.0.0.2")
    assert "No Prometheus" in expect_refusal(folder, services, PROMETHEUS_URL=nowhere)
    assert "No Prometheus" in expect_refusal(
        folder, services, PROMETHEUS_URL=f"{services.url}/repos"
    )
    services.firing += ["RetrainDue"]
    pull = {"url": "https://github.example/1", "state": "OPEN", "headRefName": "retrain/0"}
    services.pulls += [pull | {"isCrossRepository": True}, pull]
    pull["isCrossRepository"] = False
    assert "github.example/1 is open: merge or close it" in done(retrain(folder, services))
    head = git(folder, "rev-parse", "--short=12", "HEAD").strip()
    pull |= {"state": "CLOSED", "headRefName": f"retrain/{head}"}
    assert "1 is closed: no commit since then" in done(retrain(folder, services))
    assert state(folder) == before
    (folder / "params.yaml").write_text("mine, and not committed")
    (folder / "notes.txt").write_text("mine")
    for more in ({}, {"FORCE": "1"}, {"GITHUB_TOKEN": ""}):
        words = expect_refusal(folder, services, **more)
        assert "params.yaml" in words and "notes.txt" in words
    assert (folder / "params.yaml").read_text() == "mine, and not committed"
    git(folder, "stash", "--include-untracked")
    git(folder, "switch", "--quiet", "--detach")
    assert "No branch" in expect_refusal(folder, services, GITHUB_TOKEN="")
    assert len(services.pulls) == 2


def test_does_not_train_without_gh(built: Path, services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(built, folder, symlinks=True)
    before = state(with_remote(folder))
    services.firing += ["RetrainDue"]
    assert "gh pr list: HTTP 401: Bad cred" in expect_refusal(
        folder, services, GITHUB_TOKEN="another"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(shutil.which("git") or "")
    python = shutil.which("python", path=paths(folder)["PATH"]) or ""
    env = {"GITHUB_TOKEN": "a-token", "GITHUB_REPOSITORY": "team/repo"}
    env |= {"PATH": str(tmp_path / "bin"), "SCRATCH_DETECTOR_PROMETHEUS_URL": services.url}
    result = run_in(folder, python, "-m", "scratch_detector", "retrain", **env)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "gh, the CLI of GitHub, is not installed: https://cli.github.com" in result.stderr
    assert state(folder) == before


PROPOSE = """
from scratch_detector.retraining import pull_request
base, branch = pull_request.name_branches()
print(pull_request.already_proposed(branch))
pull_request.git("branch", branch)
print(pull_request.publish(branch, base))
print(pull_request.already_proposed(branch))
"""


def test_the_real_gh_works_like_the_stand_in(
    built: Path, services: Services, tmp_path: Path
) -> None:
    """It talks to the same simulated GitHub, by its own protocol and over TLS."""
    tool("gh")
    folder, files = tmp_path / "repo", (tmp_path / "key.pem", tmp_path / "certificate.pem")
    shutil.copytree(built, folder, symlinks=True)
    with_remote(folder)
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {files[0]} -out {files[1]}"
    make += " -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(make.split(), check=True, capture_output=True)
    github = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.__dict__ |= {
        "list_pulls": services.list_pulls,
        "create": services.create,
        "refuses": True,
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    github.socket = context.wrap_socket(github.socket, server_side=True)
    Thread(target=github.serve_forever, daemon=True).start()
    env = {"GITHUB_SERVER_URL": f"https://127.0.0.1:{github.server_port}"}
    env |= {"GITHUB_TOKEN": "a-token", "GITHUB_REPOSITORY": "team/repo"}
    env |= {"SSL_CERT_FILE": str(files[1]), "GH_CONFIG_DIR": str(tmp_path / "gh")}

    def proposed(**more: str) -> subprocess.CompletedProcess[str]:
        return run_in(folder, "python", "-c", PROPOSE, **env | more)

    wrong = proposed(GITHUB_TOKEN="another").stderr
    assert "gh pr list: HTTP 401: Bad credentials" in wrong and "Traceback" not in wrong
    words = proposed().stderr
    assert "is pushed, but has no pull request" in words and REFUSED in words
    git(folder, "branch", "-D", "retrain/" + git(folder, "rev-parse", "--short=12", "HEAD").strip())
    github.__dict__["refuses"] = False
    output = done(proposed())
    assert output.split("\n")[:2] == ["False", "https://github.example/team/repo/pull/1"]
    assert "pull/1 is open: merge or close it first.\nTrue" in output
    (pull,) = services.pulls
    assert (pull["baseRefName"], pull["title"]) == ("main", "work of the user")
    github.shutdown()
    github.server_close()
    ask = ["gh", "auth", "git-credential", "get"]
    env |= {"GH_TOKEN": "a-token", "PATH": os.environ["PATH"]}
    given = "protocol=https\nhost=github.com\n\n"
    result = subprocess.run(ask, input=given, env=env, capture_output=True, text=True, check=True)
    assert "password=a-token" in result.stdout.split()


@pytest.mark.long
def test_hourly_jobs_need_only_the_packages_of_a_device(render: Render, tmp_path: Path) -> None:
    """What `make setup-run` installs: neither PyTorch nor DVC."""
    folder = render(modality="image", target="edge")
    env = deployed_variables(folder) | {"GITHUB_OUTPUT": str(tmp_path / "output")}
    command = [env["PYTHON"], "-m", "scratch_detector"]
    subprocess.run([*command, "due", "By hand."], cwd=folder, env=env, check=True)
    assert (tmp_path / "output").read_text() == "due=true\n"
    read = subprocess.run(
        [*command, "monitor"], cwd=folder, env=env, capture_output=True, text=True
    )
    assert read.returncode == 1 and "Traceback" not in read.stderr, read.stderr


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
    said = Prediction({"label": example.label, "confidence": 0.9}, {}, {})
    journal.note(str(number), payload, said, "sha", is_new=True)
    asyncio.run(journal.label(str(number), example.label, "", {}))
journal.close()
"""


@pytest.fixture(scope="module")
def deployed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model and labelled requests since then, in git and in a DVC remote."""
    folder = tmp_path_factory.mktemp("deployed") / "repo"
    shutil.copytree(built, folder, symlinks=True)
    put(folder, "scope.yaml", payloads="all")
    done(run_in(folder, "make", "-s", "model", "release"))
    with_remote(folder)
    done(run_in(folder, "python", "-c", TRAFFIC))
    done(run_in(folder, "make", "-s", "feedback"))
    commit_files(folder)
    git(folder, "push", "-q", "origin", "main")
    done(run_in(folder, "dvc", "push", "-q"))
    return folder


@pytest.fixture
def project(deployed: Path, tmp_path: Path, services: Services) -> Path:
    """A clone without data and models, as in CI, for which a candidate is due."""
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
    commit_files(project)
    git(project, "push", "-q", "origin", "main")


@pytest.mark.long
def test_a_candidate_becomes_one_pull_request(project: Path, services: Services) -> None:
    head = git(project, "rev-parse", "HEAD").strip()
    branch = f"retrain/{head[:12]}"
    services.refuses = True
    words = expect_refusal(project, services)
    assert f"{branch} is pushed" in words and REFUSED in words and "pull-requests: write" in words
    assert branch in git(project, "ls-remote", "origin") and services.pulls == []
    services.refuses = False
    git(project, "branch", "-D", branch)
    assert "earlier run" in done(retrain(project, services))
    (pull,) = services.pulls
    assert (pull["baseRefName"], pull["headRefName"]) == ("main", branch)
    assert pull["title"].startswith("Retrained model: ") and "worse" not in pull["title"]
    assert "InputDrift (2), ModelStale (1), RetrainDue (1)" in pull["body"]
    assert re.search(r"\| all held-out examples \| \d+ \| 0\.\d+ \| 0\.\d+ \|", pull["body"])
    assert re.search(r"\| recent labelled traffic \| [4-8]\d \|", pull["body"])
    assert re.search(
        r"```diff\n--- champion\n\+\+\+ candidate\n(.*\n)*\+\| Slice feedback ", pull["body"]
    )
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
        ({"epochs": 1}, "candidate does not meet all limits"),
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
    ids=["limit not met", "worse than the champion"],
)
def test_a_worse_candidate_fails_and_opens_no_pull_request(
    planted: dict[str, float], words: str, project: Path, services: Services
) -> None:
    pushed(project, **planted)
    refs = git(project, "show-ref"), git(project, "ls-remote", "origin")
    output = expect_refusal(project, services)
    assert words in output and "git stash" in output
    head = git(project, "rev-parse", "HEAD").strip()
    tag = f"{head}\trefs/tags/tried/{head[:12]}\n"
    assert git(project, "ls-remote", "origin") == refs[1] + tag and services.pulls == []
    assert git(project, "show-ref") == refs[0]
    assert git(project, "status", "--porcelain"), "the trained model should stay for inspection"
    git(project.parent, "clone", "-q", "origin.git", "later")
    assert "this candidate was rejected" in done(retrain(project.parent / "later", services))
    assert not (project.parent / "later/models/model.pt").exists()
    if words == "champion is better":
        report = json.loads((project / "reports/retrain.json").read_text())
        assert report["verdict"] == "worse" and report["comparisons"][0]["gain_at_most"] < 0


@pytest.mark.long
def test_by_hand_the_branch_stays_local_and_the_released_champion_is_compared(
    deployed: Path, services: Services, tmp_path: Path
) -> None:
    shutil.copytree(deployed.parent, tmp_path / "all", symlinks=True)
    project = tmp_path / "all/repo"
    before = state(project)
    output = done(retrain(project, services, GITHUB_TOKEN="", FORCE="1"))
    branch = "retrain/" + git(project, "rev-parse", "--short=12", "HEAD").strip()
    assert f"git push origin {branch}" in output and services.pulls == []
    report = json.loads(git(project, "show", f"{branch}:reports/retrain.json"))
    assert re.fullmatch(r"release [0-9a-f]{12} \(scratch-detector@v1\)", report["champion"])
    assert report["reason"] == "By hand."
    git(project, "branch", "-m", branch, "kept")
    git(project, "branch", "-D", "kept")
    assert state(project) == before
