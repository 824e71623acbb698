"""Rules for the files of deploy/ that their schemas cannot express.

Each rule is a function; `test_deploy.py` plants the faults that must break it.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

Files = dict[str, Any]
UNITS = {"": 1, "m": 1e-3, "Mi": 2**20, "Gi": 2**30}


def read(folder: Path) -> Files:
    """Read deploy/: manifests by kind, other files by name."""
    deploy, package = folder / "deploy", folder / "src/scratch_detector"
    grafana = deploy / "grafana"
    app, settings = (
        (package / f"{name}.py").read_text() for name in ("serving/app", "serving/settings")
    )
    manifests = [yaml.safe_load(p.read_text()) for p in (deploy / "kubernetes").glob("*.yaml")]
    lines = (deploy / "Dockerfile").read_text().replace("\\\n", " ")
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    (port,) = re.findall(r"\bport: int = Field\(\s*(\d+)", settings)
    return {m["kind"]: m for m in manifests} | {
        "cloud-run": yaml.safe_load((deploy / "cloud-run.yaml").read_text())["spec"]["template"],
        "kserve": yaml.safe_load((deploy / "kserve/inference-service.yaml").read_text()),
        "compose": compose["services"],
        "volumes": compose["volumes"],
        "prometheus": yaml.safe_load((deploy / "prometheus.yml").read_text()),
        "alertmanager": yaml.safe_load((deploy / "alertmanager.yml").read_text()),
        "context": {
            line.removeprefix("!") for line in (folder / ".dockerignore").read_text().split()
        },
        "secrets": (folder / ".gitignore").read_text().count("/deploy/secrets/*\n"),
        "rules": sorted(f"alerts/{path.name}" for path in (deploy / "alerts").glob("*.yml")),
        "journal": re.findall(
            r'JOURNAL = Path\("(\w+)/', (package / "serving/journal.py").read_text()
        ),
        "grafana": {
            "datasource": yaml.safe_load((grafana / "datasources/prometheus.yml").read_text()),
            "provider": yaml.safe_load((grafana / "dashboards/provider.yml").read_text()),
            "dashboards": {path.name for path in (grafana / "dashboards").glob("*.json")},
        },
        "docker": dict(
            re.findall(r"^([A-Z]+) +(.+)$", lines, re.M)
        ),  # of repeated instructions, the last
        "app": {"port": int(port), "paths": re.findall(r'add_api_route\("([^"]+)"', app)}
        | {
            "v2": re.findall(
                r'prefix="/(v\d+)"', (package / "serving/open_inference.py").read_text()
            )
        },
        "fleet": collector(package / "fleet/collector.py") | {"image": lines},
    }


def collector(path: Path) -> dict[str, Any]:
    """Read port and folder of the collector from its code; empty without devices."""
    if not path.exists():
        return {}
    settings = path.with_name("settings.py").read_text()
    (port,) = re.findall(r"collect_port: int = Field\(\s*(\d+)", settings)
    (keeps_in,) = re.findall(r'^COLLECTED = Path\("(\w+)/', path.read_text(), re.M)
    return {"port": port, "keeps_in": keeps_in}


def pod(d: Files) -> Any:
    return d["Deployment"]["spec"]["template"]["spec"]


def predictor(d: Files) -> Any:
    return d["kserve"]["spec"]["predictor"]


def containers(d: Files) -> list[Any]:
    return [spec["containers"][0] for spec in (pod(d), d["cloud-run"]["spec"], predictor(d))]


def amount(quantity: Any) -> float:
    ((number, unit),) = re.findall(r"^([\d.]+)(\w*)$", str(quantity))
    return float(number) * UNITS[unit]


def number_of(container: Any, port: Any) -> int:
    named = {p.get("name"): p["containerPort"] for p in container["ports"]}
    return int(named.get(port, port if isinstance(port, int) else 0))


def check_scaling(d: Files) -> None:
    spec, scale = d["HorizontalPodAutoscaler"]["spec"], d["cloud-run"]["metadata"]["annotations"]
    assert 1 <= spec["minReplicas"] <= spec["maxReplicas"]
    assert spec["scaleTargetRef"]["name"] == d["Deployment"]["metadata"]["name"]
    assert "replicas" not in d["Deployment"]["spec"], "replicas would override the autoscaler"
    bounds = [scale[f"autoscaling.knative.dev/{name}"] for name in ("minScale", "maxScale")]
    assert bounds == [str(spec["minReplicas"]), str(spec["maxReplicas"])]
    (busy,) = [metric["resource"] for metric in spec["metrics"]]
    on_kserve = [predictor(d)[key] for key in ("minReplicas", "maxReplicas", "scaleMetric")]
    assert on_kserve == [spec["minReplicas"], spec["maxReplicas"], busy["name"]]
    assert predictor(d)["scaleTarget"] == busy["target"]["averageUtilization"]


def check_resources(d: Files) -> None:
    for spec in (pod(d), predictor(d)):
        resources = spec["containers"][0]["resources"]
        for name in ("cpu", "memory"):
            assert 0 < amount(resources["requests"][name]) <= amount(resources["limits"][name])
    memory = [c["resources"]["limits"]["memory"] for c in containers(d)]
    assert {amount(m) for m in memory} == {amount(d["compose"]["server"]["mem_limit"][:-1] + "Mi")}


def check_selectors(d: Files) -> None:
    labels = d["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        d["Deployment"]["spec"]["selector"]["matchLabels"],
        d["Service"]["spec"]["selector"],
        d["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        d["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        pod(d)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)


def check_ports(d: Files) -> None:
    ours, service = containers(d)[0], d["Service"]["spec"]["ports"]
    (target,) = d["prometheus"]["scrape_configs"][0]["static_configs"][0]["targets"]
    found = [number_of(ours, p["targetPort"]) for p in service]
    found += [p["containerPort"] for c in containers(d) for p in c["ports"]]
    found += [p["port"] for rule in d["NetworkPolicy"]["spec"]["ingress"] for p in rule["ports"]]
    found += [d["docker"]["EXPOSE"], target.removeprefix("server:")]
    found += [d["compose"]["server"]["ports"][0].rpartition(":")[2]]
    found += re.findall(r"127\.0\.0\.1:(\d+)", d["docker"]["HEALTHCHECK"])
    assert {int(port) for port in found} == {d["app"]["port"]} and len(found) == 9


def check_probes(d: Files) -> None:
    for container, names in zip(containers(d), (3, 2, 3), strict=True):
        probes = {name: p["httpGet"] for name, p in container.items() if name.endswith("Probe")}
        assert len(probes) == names and probes["livenessProbe"]["path"] == "/healthz"
        for probe in probes.values():
            assert probe["path"] in d["app"]["paths"]
            assert number_of(container, probe.get("port", d["app"]["port"])) == d["app"]["port"]
    (path,) = re.findall(r":\d+(/\w+)'", d["docker"]["HEALTHCHECK"])
    assert path in d["app"]["paths"]


def check_disruption_budget(d: Files) -> None:
    spec, least = d["PodDisruptionBudget"]["spec"], d["HorizontalPodAutoscaler"]["spec"]
    assert spec.get("maxUnavailable", 1) >= 1
    assert spec.get("minAvailable", 0) < least["minReplicas"]


def check_network_policy(d: Files) -> None:
    spec = d["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert {p["port"] for rule in spec["egress"] for p in rule["ports"]} == {53}


def check_privileges(d: Files) -> None:
    for spec in (pod(d), predictor(d)):
        inside, outside = spec["containers"][0]["securityContext"], spec["securityContext"]
        assert inside["readOnlyRootFilesystem"] and inside["allowPrivilegeEscalation"] is False
        assert inside["capabilities"] == {"drop": ["ALL"]} and outside["runAsNonRoot"]
        assert outside["seccompProfile"] == {"type": "RuntimeDefault"}
        assert d["docker"]["USER"] == f"{outside['runAsUser']}:{outside['runAsGroup']}"
        assert outside["runAsUser"] > 0
        assert not spec["automountServiceAccountToken"]
    assert d["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(d)["serviceAccountName"] == d["ServiceAccount"]["metadata"]["name"]
    for service in d["compose"].values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["mem_limit"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def check_stop_and_restart(d: Files) -> None:
    assert isinstance(json.loads(d["docker"]["CMD"]), list), "a shell would not forward SIGTERM"
    assert {s["restart"] for s in d["compose"].values()} == {"unless-stopped"}
    wait_s = pod(d)["terminationGracePeriodSeconds"]
    assert predictor(d)["terminationGracePeriodSeconds"] == wait_s
    assert d["compose"]["server"]["stop_grace_period"] == f"{wait_s}s" and wait_s >= 10
    assert d["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def check_kustomization(d: Files) -> None:
    listed, (image,) = d["Kustomization"]["resources"], d["Kustomization"]["images"]
    assert len(listed) == len(set(listed)) == 6
    assert image["name"] == pod(d)["containers"][0]["image"] == d["compose"]["server"]["image"]


def check_kserve(d: Files) -> None:
    (container,) = predictor(d)["containers"]
    assert container["name"] == "kserve-container"
    assert container["image"] == pod(d)["containers"][0]["image"]
    spoken = [e["value"] for e in container["env"] if e["name"] == "PROTOCOL"]
    assert spoken == d["app"]["v2"] == ["v2"]
    modes = {"deploymentMode": "Standard", "autoscalerClass": "hpa"}
    wanted = {f"serving.kserve.io/{key}": value for key, value in modes.items()}
    assert d["kserve"]["metadata"]["annotations"] == wanted


def check_collector_storage(d: Files) -> None:
    if (service := d["compose"].get("collector")) is None:
        assert "port" not in d["fleet"]
        return
    assert service["image"] == d["compose"]["server"]["image"] == service["command"][0]
    assert service["command"][1:] == ["collect"]
    name, _, place = service["volumes"][0].partition(":")
    assert name in d["volumes"] and place == f"/app/{d['fleet']['keeps_in']}"
    owner, group = d["docker"]["USER"].split(":")
    made = f"RUN install -d -o {owner} -g {group} {d['fleet']['keeps_in']}\n"
    assert made in d["fleet"]["image"], "the user of the image cannot write there"


def check_collector_network(d: Files) -> None:
    jobs = {job["job_name"]: job["static_configs"][0] for job in d["prometheus"]["scrape_configs"]}
    services = d["compose"].keys() & {"server", "collector"}
    assert jobs.keys() == services == d["compose"]["prometheus"]["depends_on"].keys()
    if (service := d["compose"].get("collector")) is None:
        return
    found = [service["ports"][0].rpartition(":")[2]]
    found += [target.removeprefix("collector:") for target in jobs["collector"]["targets"]]
    found += re.findall(r"127\.0\.0\.1:(\d+)/healthz", service["healthcheck"]["test"][-1])
    assert found == [d["fleet"]["port"]] * 3
    assert "SCRATCH_DETECTOR_COLLECT_HOST=0.0.0.0" in service["environment"]


def check_alert_delivery(d: Files) -> None:
    assert sorted(d["prometheus"]["rule_files"]) == d["rules"] != []
    mounted = [volume.split(":") for volume in d["compose"]["prometheus"]["volumes"]]
    for name in ["prometheus.yml", "alerts"]:
        assert [f"./{name}", f"/etc/prometheus/{name}", "ro"] in mounted
    # The image must contain limits and prices, because an alert without a limit never fires.
    copied = re.findall(r"COPY --chmod=555 (.*) \./\n", d["fleet"]["image"])
    assert {"scope.yaml", "prices.yaml"} <= {*" ".join(copied).split()} & d["context"]
    (manager,) = d["prometheus"]["alerting"]["alertmanagers"]
    (target,) = manager["static_configs"][0]["targets"]
    service = d["compose"]["alertmanager"]
    assert target == f"alertmanager:{service['ports'][0].rpartition(':')[2]}"
    assert "./alertmanager.yml:/etc/alertmanager/alertmanager.yml:ro" in service["volumes"]
    assert "./secrets:/etc/alertmanager/secrets:ro" in service["volumes"] and d["secrets"] == 1
    route, (paged, *others) = d["alertmanager"]["route"], d["alertmanager"]["inhibit_rules"]
    receivers = {receiver["name"] for receiver in d["alertmanager"]["receivers"]}
    assert receivers == {route["receiver"], *(r["receiver"] for r in route["routes"])}
    for side in ("source_matchers", "target_matchers"):
        assert 'slo!=""' in paged[side], (
            "missing labels count as equal, which would inhibit all tickets"
        )
    assert paged["equal"] == ["slo"] and not others


def check_journal_storage(d: Files) -> None:
    (folder,) = d["journal"]
    mounted = [v.partition(":") for v in d["compose"]["server"]["volumes"] if v[0] not in "./"]
    ((name, _, place),) = mounted
    assert name in d["volumes"] and place == f"/app/{folder}"
    owner, group = d["docker"]["USER"].split(":")
    made = f"RUN install -d -o {owner} -g {group} {folder}\n"
    assert made in d["fleet"]["image"], "the user of the image cannot write there"
    for spec in (pod(d), predictor(d)):
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "data")
        assert mount == {"name": "data", "mountPath": f"/app/{folder}"}
        assert "emptyDir" in next(v for v in spec["volumes"] if v["name"] == "data")


def check_service_links(d: Files) -> None:
    """Kubernetes would set `<SERVICE>_PORT=tcp://...` for each Service, such as ours."""
    for spec in (pod(d), predictor(d)):
        assert spec["enableServiceLinks"] is False


def check_secrets(d: Files) -> None:
    """There is a place for a file of keys, with or without keys."""
    place = "/run/secrets/server"
    variables = {"server": "API_KEYS_FILE", "collector": "COLLECT_KEYS_FILE"}
    for name in variables.keys() & d["compose"].keys():
        service = d["compose"][name]
        assert f"./secrets/{name}:/run/secrets/{name}:ro" in service["volumes"]
        assert f"SCRATCH_DETECTOR_{variables[name]}" in service["environment"]
    for spec in (pod(d), predictor(d)):
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "secrets")
        assert (mount["mountPath"], mount["readOnly"]) == (place, True)
        (volume,) = (v for v in spec["volumes"] if v["name"] == "secrets")
        assert volume["secret"]["optional"] and volume["secret"]["secretName"]


def check_anonymous_access(d: Files) -> None:
    """The server starts without keys where the platform limits access; the collector does not."""
    setting = "SCRATCH_DETECTOR_ALLOW_ANONYMOUS"
    assert f"{setting}=true" in d["compose"]["server"]["environment"]
    for container in containers(d):
        assert {"name": setting, "value": "true"} in container["env"]
    collector = d["compose"].get("collector", {"environment": []})
    assert not any(setting in variable for variable in collector["environment"])
    assert setting not in d["fleet"]["image"]


def check_health_without_proxy(d: Files) -> None:
    tests = [d["docker"]["HEALTHCHECK"]]
    tests += [s["healthcheck"]["test"][-1] for s in d["compose"].values() if "healthcheck" in s]
    assert all("build_opener(u.ProxyHandler({})).open(" in test for test in tests)


def check_grafana(d: Files) -> None:
    service, folder = d["compose"]["grafana"], "/etc/grafana/provisioning"
    assert service["volumes"] == [f"./grafana:{folder}:ro"] and service["depends_on"] == [
        "prometheus"
    ]
    (source,) = d["grafana"]["datasource"]["datasources"]
    port = d["compose"]["prometheus"]["ports"][0].rpartition(":")[2]
    assert source["url"] == f"http://prometheus:{port}" and source["type"] == "prometheus"
    (provider,) = d["grafana"]["provider"]["providers"]
    assert provider["options"]["path"] == f"{folder}/dashboards" and not provider["allowUiUpdates"]
    env = service["environment"]
    home = env["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].removeprefix(f"{folder}/dashboards/")
    assert home in d["grafana"]["dashboards"]
    # Grafana has no login, so it must be read-only.
    assert env["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert env.get("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer") == "Viewer"
    assert env["GF_AUTH_DISABLE_LOGIN_FORM"] == "true" and env["GF_AUTH_BASIC_ENABLED"] == "false"
    assert env["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
