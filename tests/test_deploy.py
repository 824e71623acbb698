"""The files of deploy/: valid by their schemas, and by rules that each go red on a fault."""

import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from conftest import Render
from deploy_rules import (
    Files,
    an_end_is_orderly_and_a_crash_mended,
    every_manifest_is_applied,
    limits_cover_requests,
    nodes_can_be_drained,
    nothing_can_write_or_rise,
    pods_have_room,
    ports_agree,
    probes_ask_what_is_answered,
    read,
    selectors_match,
    the_network_is_closed,
)
from test_render import run

KUBERNETES = "1.33"
LOCAL = re.compile(r"local(?:\.\w+|\[[^\]]+\])+")
FAULTS: list[tuple[Callable[[Files], None], str, Any]] = [
    (pods_have_room, "HorizontalPodAutoscaler/spec/minReplicas", 99),
    (pods_have_room, "HorizontalPodAutoscaler/spec/scaleTargetRef/name", "other"),
    (pods_have_room, "Deployment/spec/replicas", 3),
    (limits_cover_requests, "POD/containers/0/resources/requests/cpu", "2500m"),
    (limits_cover_requests, "POD/containers/0/resources/requests/memory", "1Gi"),
    (limits_cover_requests, "compose/server/mem_limit", "256m"),
    (selectors_match, "Deployment/spec/template/metadata/labels/app", "other"),
    (selectors_match, "NetworkPolicy/spec/podSelector/matchLabels", {}),
    (selectors_match, "PodDisruptionBudget/spec/selector/matchLabels/app", "other"),
    (ports_agree, "Service/spec/ports/0/targetPort", "web"),
    (ports_agree, "POD/containers/0/ports/0/containerPort", 8080),
    (ports_agree, "app/port", 9000),
    (probes_ask_what_is_answered, "POD/containers/0/readinessProbe/httpGet/path", "/ready"),
    (probes_ask_what_is_answered, "POD/containers/0/startupProbe/httpGet/port", "web"),
    (probes_ask_what_is_answered, "cloud-run/spec/containers/0/livenessProbe/httpGet/path", "/"),
    (nodes_can_be_drained, "PodDisruptionBudget/spec/minAvailable", 1),
    (nodes_can_be_drained, "PodDisruptionBudget/spec/maxUnavailable", 0),
    (the_network_is_closed, "NetworkPolicy/spec/egress/0/ports/0/port", 443),
    (the_network_is_closed, "NetworkPolicy/spec/policyTypes", ["Ingress"]),
    (nothing_can_write_or_rise, "docker/USER", "root"),
    (nothing_can_write_or_rise, "POD/containers/0/securityContext/readOnlyRootFilesystem", False),
    (nothing_can_write_or_rise, "POD/automountServiceAccountToken", True),
    (nothing_can_write_or_rise, "compose/server/cap_drop", []),
    (an_end_is_orderly_and_a_crash_mended, "docker/CMD", '"scratch-detector serve"'),
    (an_end_is_orderly_and_a_crash_mended, "compose/server/restart", "no"),
    (every_manifest_is_applied, "Kustomization/resources", ["deployment.yaml"]),
    (every_manifest_is_applied, "Kustomization/images/0/name", "other"),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in FAULTS))


@pytest.fixture(scope="module", params=[("image", "cloud"), ("audio", "hybrid")], ids="-".join)
def folder(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(modality=request.param[0], target=request.param[1])


def test_rules_hold_and_manifests_are_valid(folder: Path) -> None:
    d = read(folder)
    for rule in RULES:
        rule(d)
    for kind, content in d.items():
        if kind[0].isupper() and kind != "Kustomization":
            kubernetes_validate.validate(content, KUBERNETES, strict=True)
    spec = {"containers": d["cloud-run"]["spec"]["containers"]}  # Knative has a pod's containers
    one = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(one, KUBERNETES, strict=True)
    listed = {p.name for p in (folder / "deploy/kubernetes").iterdir()} - {"kustomization.yaml"}
    assert listed == set(d["Kustomization"]["resources"])
    compose = str(folder / "deploy/compose.yaml")
    run(["check-jsonschema", "--builtin-schema", "compose-spec", compose], folder)


@pytest.mark.parametrize(("rule", "path", "value"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_each_rule_goes_red(
    rule: Callable[[Files], None], path: str, value: Any, render: Render
) -> None:
    planted = deepcopy(read(render(modality="image", target="cloud")))
    *way, last = path.replace("POD", "Deployment/spec/template/spec").split("/")
    at: Any = planted
    for key in way:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    with pytest.raises(AssertionError):
        rule(planted)


def test_a_misspelt_key_is_refused(render: Render, tmp_path: Path) -> None:
    folder = render(modality="image", target="cloud")
    scaler = read(folder)["HorizontalPodAutoscaler"]
    scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilisation"] = 50
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(scaler, KUBERNETES, strict=True)
    text = (folder / "deploy/compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("read_only", "readonly"))
    with pytest.raises(AssertionError, match="readonly"):
        run(["check-jsonschema", "--builtin-schema", "compose-spec", "compose.yaml"], tmp_path)


def test_kustomize_takes_all_of_it(folder: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl, which has kustomize in it, is not installed here")
    built = run(["kubectl", "kustomize", "deploy/kubernetes"], folder)
    assert {m["kind"] for m in yaml.safe_load_all(built)} | {"Kustomization"} == {
        kind for kind in read(folder) if kind[0].isupper()
    }


def planned(folder: Path) -> tuple[Callable[[str], Any], str, Any]:
    """What Terraform would read for an expression; the file's text; its resources by name."""
    path = folder / "deploy/terraform/main.tf"
    plan = hcl2.loads(path.read_text())
    (written,) = plan["locals"]

    def look(expression: str) -> Any:
        file = re.fullmatch(r'yamldecode\(file\("\$\{path\.module\}/(.+)"\)\)', expression)
        if file:
            return yaml.safe_load((path.parent / file[1]).read_text())
        name, *keys = re.findall(r'"([^"]+)"|(\w+)', expression.removeprefix("local."))
        found = look(written["".join(name)][2:-1])
        for key in map("".join, keys):
            found = found[int(key) if key.isdigit() else key]
        return found

    resources = {k.strip('"'): v for r in plan["resource"] for k, v in r.items()}
    return look, path.read_text(), resources


def test_the_budget_alarm_rings_at_the_promise(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="image", target="cloud"), folder)
    for promise in (270, 4321):
        scope = (folder / "scope.yaml").read_text()
        changed = re.sub(r"(?m)^(max_cost_usd_month: ).*", rf"\g<1>{promise}", scope)
        (folder / "scope.yaml").write_text(changed)
        look, _, resources = planned(folder)
        budget = resources["google_billing_budget"]['"promise"']
        (money,) = budget["amount"][0]["specified_amount"]
        (key,) = re.findall(r"^\$\{tostring\(ceil\((.+)\)\)\}$", money["units"])
        assert look(key) == promise and money["currency_code"] == '"USD"'
        assert [t["threshold_percent"] for t in budget["threshold_rules"]] == [0.5, 0.9, 1]


def test_terraform_reads_only_what_is_there(folder: Path) -> None:
    look, text, resources = planned(folder)
    read_there = {e for e in LOCAL.findall(text) if look(e) is not None}
    assert len(read_there) >= 14 and "google_cloud_run_v2_service" in resources
    if shutil.which("terraform"):
        run(["terraform", "fmt", "-check", "deploy/terraform"], folder)
