"""The files in deploy/: validated by schemas and by rules, each of which can fail."""

import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import reduce
from operator import getitem
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
    check_alert_delivery,
    check_anonymous_access,
    check_collector_network,
    check_collector_storage,
    check_disruption_budget,
    check_grafana,
    check_health_without_proxy,
    check_journal_storage,
    check_kserve,
    check_kustomization,
    check_network_policy,
    check_ports,
    check_privileges,
    check_probes,
    check_resources,
    check_scaling,
    check_secrets,
    check_selectors,
    check_service_links,
    check_stop_and_restart,
    read,
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
UNCOMMENT = re.compile(r"(?m)^( *)# (?=(?:volumeMounts|volumes):$|  - |    secret: |- \{name: SCR)")
LOCAL = re.compile(r"local(?:\.\w+|\[[^\]]+\])+")
FAULTS: list[tuple[Callable[[Files], None], str, Any]] = [
    (check_scaling, "HorizontalPodAutoscaler/spec/minReplicas", 99),
    (check_scaling, "HorizontalPodAutoscaler/spec/scaleTargetRef/name", "other"),
    (check_scaling, "Deployment/spec/replicas", 3),
    (check_scaling, "KSERVE/minReplicas", 99),
    (check_scaling, "KSERVE/maxReplicas", 99),
    (check_scaling, "KSERVE/scaleTarget", 99),
    (check_scaling, "KSERVE/scaleMetric", "memory"),
    (check_resources, "POD/containers/0/resources/requests/cpu", "2500m"),
    (check_resources, "POD/containers/0/resources/requests/memory", "1Gi"),
    (check_resources, "KSERVE/containers/0/resources/requests/memory", "1Gi"),
    (check_resources, "KSERVE/containers/0/resources/limits/memory", "1Gi"),
    (check_resources, "compose/server/mem_limit", "256m"),
    (check_selectors, "Deployment/spec/template/metadata/labels/app", "other"),
    (check_selectors, "NetworkPolicy/spec/podSelector/matchLabels", {}),
    (check_selectors, "PodDisruptionBudget/spec/selector/matchLabels/app", "other"),
    (check_ports, "Service/spec/ports/0/targetPort", "web"),
    (check_ports, "POD/containers/0/ports/0/containerPort", 8080),
    (check_ports, "KSERVE/containers/0/ports/0/containerPort", 8080),
    (check_ports, "app/port", 9000),
    (check_probes, "POD/containers/0/readinessProbe/httpGet/path", "/ready"),
    (check_probes, "POD/containers/0/startupProbe/httpGet/port", "web"),
    (check_probes, "KSERVE/containers/0/readinessProbe/httpGet/path", "/v1"),
    (check_probes, "KSERVE/containers/0/startupProbe/httpGet/port", 8080),
    (check_probes, "cloud-run/spec/containers/0/livenessProbe/httpGet/path", "/"),
    (check_disruption_budget, "PodDisruptionBudget/spec/minAvailable", 1),
    (check_disruption_budget, "PodDisruptionBudget/spec/maxUnavailable", 0),
    (check_network_policy, "NetworkPolicy/spec/egress/0/ports/0/port", 443),
    (check_network_policy, "NetworkPolicy/spec/policyTypes", ["Ingress"]),
    (check_privileges, "docker/USER", "root"),
    (check_privileges, "POD/containers/0/securityContext/readOnlyRootFilesystem", False),
    (check_privileges, "POD/automountServiceAccountToken", True),
    (check_privileges, "KSERVE/securityContext/runAsUser", 0),
    (check_privileges, "KSERVE/automountServiceAccountToken", True),
    (
        check_privileges,
        "KSERVE/containers/0/securityContext/readOnlyRootFilesystem",
        False,
    ),
    (check_privileges, "KSERVE/containers/0/securityContext/capabilities", {"drop": []}),
    (check_privileges, "compose/server/cap_drop", []),
    (check_stop_and_restart, "docker/CMD", '"scratch-detector serve"'),
    (check_stop_and_restart, "compose/server/restart", "no"),
    (check_stop_and_restart, "KSERVE/terminationGracePeriodSeconds", 5),
    (check_kustomization, "Kustomization/resources", ["deployment.yaml"]),
    (check_kustomization, "Kustomization/images/0/name", "other"),
    (check_kserve, "KSERVE/containers/0/name", "server"),
    (check_kserve, "KSERVE/containers/0/image", "other"),
    (check_kserve, "KSERVE/containers/0/env/0/value", "v1"),
    (check_kserve, "kserve/metadata/annotations", {}),
    (check_privileges, "compose/collector/read_only", False),
    (check_privileges, "compose/collector/ports/0", "8001:8001"),
    (check_stop_and_restart, "compose/collector/restart", "no"),
    (check_collector_storage, "compose/collector/image", "other"),
    (check_collector_storage, "compose/collector/command/1", "serve"),
    (check_collector_storage, "compose/collector/volumes/0", "collected:/data"),
    (check_collector_storage, "volumes", {}),
    (check_collector_storage, "docker/USER", "10002:10002"),
    (check_collector_network, "compose/collector/ports/0", "127.0.0.1:1:8000"),
    (check_collector_network, "compose/collector/environment", []),
    (check_collector_network, "compose/collector/healthcheck/test/3", "8000"),
    (check_collector_network, "compose/prometheus/depends_on", {}),
    (check_alert_delivery, "compose/prometheus/volumes/1", "prometheus:/x"),
    (check_alert_delivery, "compose/prometheus/volumes/0", "prometheus:/x"),
    (check_alert_delivery, "prometheus/rule_files", []),
    (check_alert_delivery, "context", {"scope.yaml"}),
    (check_alert_delivery, "fleet/image", "COPY --chmod=555 scope.yaml ./\n"),
    (check_alert_delivery, "prometheus/rule_files", ["alerts/fleet.yml"]),
    (
        check_alert_delivery,
        "prometheus/alerting/alertmanagers",
        [{"static_configs": [{"targets": ["x"]}]}],
    ),
    (check_alert_delivery, "compose/alertmanager/ports/0", "127.0.0.1:1:8000"),
    (check_alert_delivery, "compose/alertmanager/volumes/0", "alertmanager:/x"),
    (check_alert_delivery, "compose/alertmanager/volumes/1", "alertmanager:/x"),
    (check_alert_delivery, "secrets", 0),
    (check_alert_delivery, "alertmanager/route/receiver", "missing"),
    (check_alert_delivery, "alertmanager/inhibit_rules/0/target_matchers", ['severity="ticket"']),
    (check_alert_delivery, "alertmanager/inhibit_rules/0/equal", []),
    (check_journal_storage, "compose/server/volumes/1", "journal:/data"),
    (check_journal_storage, "volumes", {}),
    (check_journal_storage, "docker/USER", "10002:10002"),
    (check_journal_storage, "POD/containers/0/volumeMounts/1/mountPath", "/data"),
    (check_journal_storage, "KSERVE/containers/0/volumeMounts/1/mountPath", "/data"),
    (check_service_links, "POD/enableServiceLinks", True),
    (check_service_links, "KSERVE/enableServiceLinks", True),
    (check_secrets, "compose/server/volumes/2", "./secrets:/x:ro"),
    (check_secrets, "compose/server/environment/1", "OTHER"),
    (check_secrets, "compose/collector/volumes/1", "./secrets:/x:ro"),
    (check_secrets, "compose/collector/environment/2", "OTHER"),
    (check_anonymous_access, "compose/server/environment/2", "OTHER"),
    (check_anonymous_access, "compose/collector/environment/2", "SCRATCH_DETECTOR_ALLOW_ANONYMOUS"),
    (check_anonymous_access, "cloud-run/spec/containers/0/env", []),
    (check_anonymous_access, "POD/containers/0/env/0/value", "false"),
    (check_anonymous_access, "fleet/image", "ENV SCRATCH_DETECTOR_ALLOW_ANONYMOUS=true"),
    (check_secrets, "POD/containers/0/volumeMounts/2/mountPath", "/x"),
    (check_secrets, "KSERVE/volumes/1/secret/optional", False),
    (check_health_without_proxy, "docker/HEALTHCHECK", "u.urlopen('http://127.0.0.1:8000/readyz')"),
    (check_health_without_proxy, "compose/collector/healthcheck/test/3", "u.urlopen('x')"),
    (check_privileges, "compose/alertmanager/read_only", False),
    (check_collector_network, "prometheus/scrape_configs/1/job_name", "server"),
    (
        check_collector_network,
        "prometheus/scrape_configs/1/static_configs/0/targets",
        ["server:8001"],
    ),
    (check_privileges, "compose/grafana/read_only", False),
    (check_privileges, "compose/grafana/ports/0", "3000:3000"),
    (check_grafana, "compose/grafana/volumes", []),
    (
        check_grafana,
        "compose/grafana/environment/GF_AUTH_ANONYMOUS_ORG_ROLE",
        "Editor",
    ),
    (check_grafana, "compose/grafana/environment/GF_AUTH_DISABLE_LOGIN_FORM", "false"),
    (check_grafana, "compose/prometheus/ports/0", "127.0.0.1:9090:9091"),
    (check_grafana, "grafana/provider/providers/0/options/path", "/tmp"),
    (check_grafana, "grafana/dashboards", {"fleet.json"}),
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


def test_terraform_reads_only_existing_keys(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder / "deploy", tmp_path / "deploy")
    shutil.copy(folder / "scope.yaml", tmp_path)
    service = copy / "cloud-run.yaml"
    service.write_text(UNCOMMENT.sub(r"\1", service.read_text()))
    look, text, resources = read_terraform(tmp_path)
    keys = {e for e in LOCAL.findall(text) if look(e) is not None}
    assert len(keys) >= 16 and "google_cloud_run_v2_service" in resources
    lists = {"volumes": look("local.template.spec.volumes")}
    lists["items"] = lists["volumes"][0]["secret"]["items"]
    lists["env"] = look("local.container.env")
    lists["volume_mounts"] = look("local.container.volumeMounts")
    used = re.findall(r"\b(\w+)\.value\.([\w.]+)", text)
    assert {name for name, _ in used} == set(lists)
    for name, path in used:
        for item in lists[name]:
            assert reduce(getitem, path.split("."), item)
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
    assert {"/deploy/.env", "/deploy/secrets/*"} <= {*(folder / ".gitignore").read_text().split()}


@pytest.mark.parametrize(
    "file", ["kubernetes/deployment.yaml", "kserve/inference-service.yaml", "cloud-run.yaml"]
)
def test_the_commented_lines_for_api_keys_are_valid(file: str, folder: Path) -> None:
    text = UNCOMMENT.sub(r"\1", (folder / "deploy" / file).read_text())
    content = yaml.safe_load(text)["spec"]
    spec = content["predictor"] if "predictor" in content else content["template"]["spec"]
    (container,) = spec["containers"]
    path = next(e["value"] for e in container["env"] if e["name"].endswith("_API_KEYS_FILE"))
    (mount,) = (m for m in container["volumeMounts"] if path.startswith(m["mountPath"] + "/"))
    assert "secret" in next(v for v in spec["volumes"] if v["name"] == mount["name"])
    if "kubernetes" in file:
        kubernetes_validate.validate(yaml.safe_load(text), KUBERNETES, strict=True)
