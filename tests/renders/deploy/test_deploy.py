"""The files in deploy/: validated by schemas and by rules, each of which can fail."""

import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import hcl2
import jsonschema
import kubernetes_validate
import pytest
import yaml

from conftest import Render
from deploy_rules import (
    Files,
    alerts_reach_somebody,
    an_end_is_orderly_and_a_crash_mended,
    every_manifest_is_applied,
    grafana_shows_what_git_has,
    kserve_knows_the_server,
    limits_cover_requests,
    nodes_can_be_drained,
    nothing_can_write_or_rise,
    pods_have_room,
    ports_agree,
    probes_ask_what_is_answered,
    read,
    selectors_match,
    the_collector_is_reached_and_watched,
    the_collector_keeps_what_it_takes,
    the_journal_outlives_its_container,
    the_network_is_closed,
)
from test_render import run

KUBERNETES = "1.33"
# The keys of KServe in use; no package has the full schema.
SCALE = {
    "minReplicas": {"type": "integer", "minimum": 1},
    "maxReplicas": {"type": "integer", "minimum": 1},
    "scaleMetric": {"enum": ["cpu", "memory"]},
    "scaleTarget": {"type": "integer", "minimum": 1, "maximum": 100},
}


def exact_object(properties: dict[str, Any], others: bool = False) -> dict[str, Any]:
    """Return the JSON schema of an object with exactly these keys, unless `others` are allowed."""
    rest = {"required": [*properties], "additionalProperties": others}
    return {"type": "object", "properties": properties} | rest


INFERENCE_SERVICE = exact_object(
    {
        "apiVersion": {"const": "serving.kserve.io/v1beta1"},
        "kind": {"const": "InferenceService"},
        "metadata": exact_object(
            {
                "name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            }
        ),
        "spec": exact_object({"predictor": exact_object(SCALE, others=True)}),
    }
)
LOCAL = re.compile(r"local(?:\.\w+|\[[^\]]+\])+")
FAULTS: list[tuple[Callable[[Files], None], str, Any]] = [
    (pods_have_room, "HorizontalPodAutoscaler/spec/minReplicas", 99),
    (pods_have_room, "HorizontalPodAutoscaler/spec/scaleTargetRef/name", "other"),
    (pods_have_room, "Deployment/spec/replicas", 3),
    (pods_have_room, "KSERVE/minReplicas", 99),
    (pods_have_room, "KSERVE/maxReplicas", 99),
    (pods_have_room, "KSERVE/scaleTarget", 99),
    (pods_have_room, "KSERVE/scaleMetric", "memory"),
    (limits_cover_requests, "POD/containers/0/resources/requests/cpu", "2500m"),
    (limits_cover_requests, "POD/containers/0/resources/requests/memory", "1Gi"),
    (limits_cover_requests, "KSERVE/containers/0/resources/requests/memory", "1Gi"),
    (limits_cover_requests, "KSERVE/containers/0/resources/limits/memory", "1Gi"),
    (limits_cover_requests, "compose/server/mem_limit", "256m"),
    (selectors_match, "Deployment/spec/template/metadata/labels/app", "other"),
    (selectors_match, "NetworkPolicy/spec/podSelector/matchLabels", {}),
    (selectors_match, "PodDisruptionBudget/spec/selector/matchLabels/app", "other"),
    (ports_agree, "Service/spec/ports/0/targetPort", "web"),
    (ports_agree, "POD/containers/0/ports/0/containerPort", 8080),
    (ports_agree, "KSERVE/containers/0/ports/0/containerPort", 8080),
    (ports_agree, "app/port", 9000),
    (probes_ask_what_is_answered, "POD/containers/0/readinessProbe/httpGet/path", "/ready"),
    (probes_ask_what_is_answered, "POD/containers/0/startupProbe/httpGet/port", "web"),
    (probes_ask_what_is_answered, "KSERVE/containers/0/readinessProbe/httpGet/path", "/v1"),
    (probes_ask_what_is_answered, "KSERVE/containers/0/startupProbe/httpGet/port", 8080),
    (probes_ask_what_is_answered, "cloud-run/spec/containers/0/livenessProbe/httpGet/path", "/"),
    (nodes_can_be_drained, "PodDisruptionBudget/spec/minAvailable", 1),
    (nodes_can_be_drained, "PodDisruptionBudget/spec/maxUnavailable", 0),
    (the_network_is_closed, "NetworkPolicy/spec/egress/0/ports/0/port", 443),
    (the_network_is_closed, "NetworkPolicy/spec/policyTypes", ["Ingress"]),
    (nothing_can_write_or_rise, "docker/USER", "root"),
    (nothing_can_write_or_rise, "POD/containers/0/securityContext/readOnlyRootFilesystem", False),
    (nothing_can_write_or_rise, "POD/automountServiceAccountToken", True),
    (nothing_can_write_or_rise, "KSERVE/securityContext/runAsUser", 0),
    (nothing_can_write_or_rise, "KSERVE/automountServiceAccountToken", True),
    (
        nothing_can_write_or_rise,
        "KSERVE/containers/0/securityContext/readOnlyRootFilesystem",
        False,
    ),
    (nothing_can_write_or_rise, "KSERVE/containers/0/securityContext/capabilities", {"drop": []}),
    (nothing_can_write_or_rise, "compose/server/cap_drop", []),
    (an_end_is_orderly_and_a_crash_mended, "docker/CMD", '"scratch-detector serve"'),
    (an_end_is_orderly_and_a_crash_mended, "compose/server/restart", "no"),
    (an_end_is_orderly_and_a_crash_mended, "KSERVE/terminationGracePeriodSeconds", 5),
    (every_manifest_is_applied, "Kustomization/resources", ["deployment.yaml"]),
    (every_manifest_is_applied, "Kustomization/images/0/name", "other"),
    (kserve_knows_the_server, "KSERVE/containers/0/name", "server"),
    (kserve_knows_the_server, "KSERVE/containers/0/image", "other"),
    (kserve_knows_the_server, "KSERVE/containers/0/env/0/value", "v1"),
    (kserve_knows_the_server, "kserve/metadata/annotations", {}),
    (nothing_can_write_or_rise, "compose/collector/read_only", False),
    (nothing_can_write_or_rise, "compose/collector/ports/0", "8001:8001"),
    (an_end_is_orderly_and_a_crash_mended, "compose/collector/restart", "no"),
    (the_collector_keeps_what_it_takes, "compose/collector/image", "other"),
    (the_collector_keeps_what_it_takes, "compose/collector/command/1", "serve"),
    (the_collector_keeps_what_it_takes, "compose/collector/volumes/0", "collected:/data"),
    (the_collector_keeps_what_it_takes, "volumes", {}),
    (the_collector_keeps_what_it_takes, "docker/USER", "10002:10002"),
    (the_collector_is_reached_and_watched, "compose/collector/ports/0", "127.0.0.1:1:8000"),
    (the_collector_is_reached_and_watched, "compose/collector/environment", []),
    (the_collector_is_reached_and_watched, "compose/collector/healthcheck/test/3", "8000"),
    (the_collector_is_reached_and_watched, "compose/prometheus/depends_on", {}),
    (alerts_reach_somebody, "compose/prometheus/volumes/1", "prometheus:/x"),
    (alerts_reach_somebody, "compose/prometheus/volumes/0", "prometheus:/x"),
    (alerts_reach_somebody, "prometheus/rule_files", []),
    (alerts_reach_somebody, "context", {"scope.yaml"}),
    (alerts_reach_somebody, "fleet/image", "COPY --chmod=555 scope.yaml ./\n"),
    (alerts_reach_somebody, "prometheus/rule_files", ["alerts/fleet.yml"]),
    (
        alerts_reach_somebody,
        "prometheus/alerting/alertmanagers",
        [{"static_configs": [{"targets": ["x"]}]}],
    ),
    (alerts_reach_somebody, "compose/alertmanager/ports/0", "127.0.0.1:1:8000"),
    (alerts_reach_somebody, "compose/alertmanager/volumes/0", "alertmanager:/x"),
    (alerts_reach_somebody, "compose/alertmanager/volumes/1", "alertmanager:/x"),
    (alerts_reach_somebody, "secrets", 0),
    (alerts_reach_somebody, "alertmanager/route/receiver", "nobody"),
    (alerts_reach_somebody, "alertmanager/inhibit_rules/0/target_matchers", ['severity="ticket"']),
    (alerts_reach_somebody, "alertmanager/inhibit_rules/0/equal", []),
    (the_journal_outlives_its_container, "compose/server/volumes/1", "journal:/data"),
    (the_journal_outlives_its_container, "volumes", {}),
    (the_journal_outlives_its_container, "docker/USER", "10002:10002"),
    (the_journal_outlives_its_container, "POD/containers/0/volumeMounts/1/mountPath", "/data"),
    (the_journal_outlives_its_container, "KSERVE/containers/0/volumeMounts/1/mountPath", "/data"),
    (nothing_can_write_or_rise, "compose/alertmanager/read_only", False),
    (the_collector_is_reached_and_watched, "prometheus/scrape_configs/1/job_name", "server"),
    (
        the_collector_is_reached_and_watched,
        "prometheus/scrape_configs/1/static_configs/0/targets",
        ["server:8001"],
    ),
    (nothing_can_write_or_rise, "compose/grafana/read_only", False),
    (nothing_can_write_or_rise, "compose/grafana/ports/0", "3000:3000"),
    (grafana_shows_what_git_has, "compose/grafana/volumes", []),
    (
        grafana_shows_what_git_has,
        "compose/grafana/environment/GF_AUTH_ANONYMOUS_ORG_ROLE",
        "Editor",
    ),
    (grafana_shows_what_git_has, "compose/grafana/environment/GF_AUTH_DISABLE_LOGIN_FORM", "false"),
    (grafana_shows_what_git_has, "compose/prometheus/ports/0", "127.0.0.1:9090:9091"),
    (grafana_shows_what_git_has, "grafana/provider/providers/0/options/path", "/tmp"),
    (grafana_shows_what_git_has, "grafana/dashboards", {"fleet.json"}),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in FAULTS))


@pytest.fixture(scope="module", params=[("image", "cloud"), ("audio", "hybrid")], ids="-".join)
def folder(request: pytest.FixtureRequest, render: Render) -> Path:
    return render(modality=request.param[0], target=request.param[1])


def validate_pod(spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def validate_on_kserve(service: Any) -> None:
    """Validate the keys of KServe, and the rest as the spec of a pod."""
    jsonschema.validate(service, INFERENCE_SERVICE)
    predictor = service["spec"]["predictor"]
    validate_pod({key: value for key, value in predictor.items() if key not in SCALE})


def test_manifests_are_valid(folder: Path) -> None:
    d = read(folder)
    for rule in RULES:
        rule(d)
    for kind, content in d.items():
        if kind[0].isupper() and kind != "Kustomization":
            kubernetes_validate.validate(content, KUBERNETES, strict=True)
    validate_pod({"containers": d["cloud-run"]["spec"]["containers"]})  # the same schema as a pod
    validate_on_kserve(d["kserve"])
    listed = {p.name for p in (folder / "deploy/kubernetes").iterdir()} - {"kustomization.yaml"}
    assert listed == set(d["Kustomization"]["resources"])
    compose = str(folder / "deploy/compose.yaml")
    run(["check-jsonschema", "--builtin-schema", "compose-spec", compose], folder)


@pytest.mark.parametrize(("rule", "path", "value"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_each_rule_detects_its_fault(
    rule: Callable[[Files], None], path: str, value: Any, render: Render
) -> None:
    files = deepcopy(read(render(modality="audio", target="hybrid")))
    path = path.replace("POD", "Deployment/spec/template/spec")
    *parents, last = path.replace("KSERVE", "kserve/spec/predictor").split("/")
    at: Any = files
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = value
    with pytest.raises(AssertionError):
        rule(files)


def test_rejects_a_misspelt_key(render: Render, tmp_path: Path) -> None:
    folder = render(modality="image", target="cloud")
    scaler = read(folder)["HorizontalPodAutoscaler"]
    scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilisation"] = 50
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(scaler, KUBERNETES, strict=True)
    for wrong in ({"scaleTargets": 50}, {"scaleMetric": "CPU"}, {"canaryTrafficPercent": 10}):
        service = read(folder)["kserve"]
        service["spec"]["predictor"] |= wrong
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            validate_on_kserve(service)
    service = read(folder)["kserve"]
    service["spec"] |= {"canary": {}}
    with pytest.raises(jsonschema.ValidationError, match="canary"):
        validate_on_kserve(service)
    text = (folder / "deploy/compose.yaml").read_text()
    (tmp_path / "compose.yaml").write_text(text.replace("read_only", "readonly"))
    with pytest.raises(AssertionError, match="readonly"):
        run(["check-jsonschema", "--builtin-schema", "compose-spec", "compose.yaml"], tmp_path)


def test_kustomize_builds_all_manifests(folder: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    built = run(["kubectl", "kustomize", "deploy/kubernetes"], folder)
    assert {m["kind"] for m in yaml.safe_load_all(built)} | {"Kustomization"} == {
        kind for kind in read(folder) if kind[0].isupper()
    }


def read_terraform(folder: Path) -> tuple[Callable[[str], Any], str, Any]:
    """Return a function that evaluates an expression, the text, and the resources by name."""
    path = folder / "deploy/terraform/main.tf"
    plan = hcl2.loads(path.read_text())
    (written,) = plan["locals"]

    def look(expression: str) -> Any:
        file = re.fullmatch(r'yamldecode\(file\("\$\{path\.module\}/(.+)"\)\)', expression)
        if file:
            return yaml.safe_load((path.parent / file[1]).read_text())
        name, *keys = re.findall(r'"([^"]+)"|(\w+)', expression.removeprefix("local."))
        value = look(written["".join(name)][2:-1])
        for key in map("".join, keys):
            value = value[int(key) if key.isdigit() else key]
        return value

    resources = {k.strip('"'): v for r in plan["resource"] for k, v in r.items()}
    return look, path.read_text(), resources


def test_the_budget_alert_reads_its_limit_from_scope_yaml(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    shutil.copytree(render(modality="image", target="cloud"), folder)
    for limit in (270, 4321):
        scope = (folder / "scope.yaml").read_text()
        changed = re.sub(r"(?m)^(max_cost_usd_month: ).*", rf"\g<1>{limit}", scope)
        (folder / "scope.yaml").write_text(changed)
        look, _, resources = read_terraform(folder)
        budget = resources["google_billing_budget"]['"promise"']
        (money,) = budget["amount"][0]["specified_amount"]
        (key,) = re.findall(r"^\$\{tostring\(ceil\((.+)\)\)\}$", money["units"])
        assert look(key) == limit and money["currency_code"] == '"USD"'
        assert [t["threshold_percent"] for t in budget["threshold_rules"]] == [0.5, 0.9, 1]


def test_terraform_reads_only_existing_keys(folder: Path) -> None:
    look, text, resources = read_terraform(folder)
    keys = {e for e in LOCAL.findall(text) if look(e) is not None}
    assert len(keys) >= 14 and "google_cloud_run_v2_service" in resources
    if shutil.which("terraform"):
        run(["terraform", "fmt", "-check", "deploy/terraform"], folder)


def test_the_image_contains_the_runbook_pages_of_the_status_page(folder: Path) -> None:
    code = (folder / "src/scratch_detector/serving/promises.py").read_text()
    dockerfile = (folder / "deploy/Dockerfile").read_text()
    context = (folder / ".dockerignore").read_text().splitlines()
    pages = re.findall(r'RUNBOOK = "(.+)"', code)
    assert len(pages) == 2
    for page in pages:
        assert (folder / page).exists()
        assert f"COPY --chmod=555 {page} ./{Path(page).parent}/\n" in dockerfile
        assert {f"!{page}", f"!{Path(page).parent}"} & {*context}


def test_compose_passes_api_keys_that_git_ignores(folder: Path) -> None:
    server = yaml.safe_load((folder / "deploy/compose.yaml").read_text())["services"]["server"]
    assert "SCRATCH_DETECTOR_API_KEYS" in server["environment"]
    assert {"/deploy/.env", "/deploy/secrets/"} <= {*(folder / ".gitignore").read_text().split()}
