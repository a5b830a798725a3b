"""The manifests in docker/kubernetes: rendered, typed, consistent with each other and with what the tests of docker/ ran."""

import shutil
import subprocess

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job, get_user_defined_k8s_config
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes.client import models as k8s

from panic_assets.compute import tags
from panic_assets.compute.protocol import Needs
from panic_assets.settings import PROJECT
from panic_assets.web import door

FOLDER = PROJECT / "docker" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS = [m for file in KUSTOMIZATION["resources"] for m in yaml.safe_load_all((FOLDER / file).read_text())]
WORKLOADS = {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"] in ("Deployment", "StatefulSet")}
COMPOSE = yaml.safe_load((PROJECT / "docker" / "compose.yaml").read_text())["services"]
INSTANCE = yaml.safe_load((FOLDER / "dagster.yaml").read_text())
LAUNCHER = INSTANCE["run_launcher"]["config"]
VALUES = dict(line.split("=", 1) for line in (FOLDER / "values.env").read_text().splitlines() if "=" in line)


def pod(name):
    return WORKLOADS[name]["spec"]["template"]["spec"]


def container(name):
    [only] = pod(name)["containers"]
    return only


def test_every_manifest_is_of_the_types_of_the_kubernetes_api():
    """Unknown and mistyped fields are refused."""
    for manifest in MANIFESTS:
        cls = getattr(
            k8s, {"Role": "V1Role", "RoleBinding": "V1RoleBinding"}.get(manifest["kind"], "V1" + manifest["kind"])
        )
        k8s_model_from_dict(cls, k8s_snake_case_dict(cls, manifest))
    assert {m["kind"] for m in MANIFESTS} >= {"Deployment", "StatefulSet", "Service", "Role", "PersistentVolumeClaim"}


def test_a_misspelt_field_would_be_found():
    manifest = yaml.safe_load((FOLDER / "code.yaml").read_text().split("---")[1])
    manifest["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(Exception, match="liven"):
        k8s_model_from_dict(k8s.V1Deployment, k8s_snake_case_dict(k8s.V1Deployment, manifest))


def test_what_is_named_exists():
    claims = {m["metadata"]["name"] for m in MANIFESTS if m["kind"] == "PersistentVolumeClaim"}
    maps = {generated["name"] for generated in KUSTOMIZATION["configMapGenerator"]}
    services = {m["metadata"]["name"]: m["spec"] for m in MANIFESTS if m["kind"] == "Service"}
    for name in WORKLOADS:
        volumes = {v["name"]: v for v in pod(name).get("volumes", [])}
        templates = {t["metadata"]["name"] for t in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container(name)["volumeMounts"]} == set(volumes) | templates
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "panic-home") in claims
            assert volume.get("configMap", {}).get("name", "panic-instance") in maps
        labels = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
        assert WORKLOADS[name]["spec"]["selector"]["matchLabels"] == labels
        if name in services:
            assert services[name]["selector"] == labels
            ports = [port["containerPort"] for port in container(name)["ports"]]
            assert [port["port"] for port in services[name]["ports"]] == ports
    assert set(LAUNCHER["env_config_maps"]) | {LAUNCHER["instance_config_map"]} == maps
    assert {
        v["persistentVolumeClaim"]["claimName"] for v in LAUNCHER["volumes"] if "persistentVolumeClaim" in v
    } == claims
    assert LAUNCHER["job_namespace"] == KUSTOMIZATION["namespace"]
    assert [VALUES["PANIC_CODE_HOST"], int(VALUES["PANIC_CODE_PORT"])] == ["code", services["code"]["ports"][0]["port"]]


def reaches(labels, port):
    """Who may open a connection to this port of pods with these labels: the selectors of every policy that says so."""
    told = [
        policy["spec"]
        for policy in MANIFESTS
        if policy["kind"] == "NetworkPolicy" and policy["spec"]["podSelector"].get("matchLabels", labels) == labels
    ]
    assert any(spec["podSelector"] == {} and "ingress" not in spec for spec in told), "nobody else may"
    return [
        peer
        for spec in told
        for rule in spec.get("ingress", [])
        if [p["port"] for p in rule["ports"]] == [port]
        for peer in rule["from"]
    ]


def selected(peer, labels):
    """Whether a peer selects pods with these labels of our namespace."""
    selector = peer.get("podSelector")
    if selector is None or "namespaceSelector" in peer:
        return False
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


def test_the_network_lets_in_those_who_must_connect_and_nobody_else():
    """Labels of the pods of runs and steps are Dagster's own."""
    run = construct_dagster_k8s_job(
        DagsterK8sJobConfig("panic-code:0.1.0", LAUNCHER["dagster_home"], LAUNCHER["instance_config_map"], None),
        args=[],
        job_name="run",
        pod_name="run",
        component="run_worker",
    )
    pods = {name: WORKLOADS[name]["spec"]["template"]["metadata"]["labels"] for name in WORKLOADS}
    pods |= {"run": run.spec.template.metadata.labels, "stranger": {"app": "stranger"}}
    allowed = {
        (name, target)
        for target in WORKLOADS
        for peer in reaches(pods[target], container(target).get("ports", [{"containerPort": 0}])[0]["containerPort"])
        for name, labels in pods.items()
        if selected(peer, labels)
    }
    assert allowed == {
        ("webserver", "code"),
        ("daemon", "code"),
        *((name, "postgres") for name in ("code", "webserver", "daemon", "run")),
    }
    [proxy] = reaches(pods["webserver"], 3000)
    assert list(proxy) == ["namespaceSelector"]


def test_the_webserver_knows_the_password_and_its_health_is_asked_by_a_name_that_it_knows():
    assert {"secretRef": {"name": "panic-web"}} in container("webserver")["envFrom"]
    for name in ("startupProbe", "livenessProbe"):
        asked = container("webserver")[name]["httpGet"]
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        assert asked["path"] in door.OPEN


def test_commands_and_images_are_those_of_the_compose_file():
    for name in ("code", "webserver", "daemon"):
        assert container(name)["args"] == COMPOSE[name]["command"]
        assert container(name)["image"] == COMPOSE[name]["image"].split(":")[0]
    assert container("postgres")["image"] == COMPOSE["postgres"]["image"]
    probes = {name: container(name)["livenessProbe"] for name in ("code", "daemon")}
    for name, probe in probes.items():
        assert probe["exec"]["command"] == COMPOSE[name]["healthcheck"]["test"][1:]
    newest = {image["name"]: image["newTag"] for image in KUSTOMIZATION["images"]}
    for name in ("code", "webserver"):
        image, tag = COMPOSE[name]["image"].split(":")
        assert newest[image] == tag


def test_no_pod_runs_as_root_or_without_limits():
    for name in WORKLOADS:
        assert pod(name)["securityContext"]["runAsNonRoot"] is True
        assert container(name)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container(name)["resources"]["limits"]


def test_the_instance_differs_from_ours_in_the_run_launcher_and_in_how_long_a_slot_waits():
    ours = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    differ = {name for name in {*ours, *INSTANCE} if ours.get(name) != INSTANCE.get(name)}
    assert differ == {"run_launcher", "run_monitoring"}
    assert ours["run_monitoring"] | {"free_slots_after_run_end_seconds": 30} == INSTANCE["run_monitoring"]
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), LAUNCHER)
    assert checked.success, checked.errors


def test_a_step_that_needs_a_card_becomes_a_job_that_asks_for_it():
    """What dagster-k8s makes of the launcher's configuration and of an asset's tags together."""
    needs = Needs(device="gpu", gpus=0.5, vram_gb=24, memory_gb=48)
    asset = dg.asset(name="a", op_tags=tags.op_tags(needs, "k8s"))(lambda: None)
    step = get_user_defined_k8s_config(asset.op.tags)
    names = ("env_config_maps", "env_secrets", "volumes", "volume_mounts", "service_account_name")
    context = K8sContainerContext.create_from_config(
        {"k8s": {**{name: LAUNCHER[name] for name in names}, "run_k8s_config": LAUNCHER["run_k8s_config"]}}
    ).merge(K8sContainerContext(run_k8s_config=step))
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig("panic-code:0.1.0", LAUNCHER["dagster_home"], LAUNCHER["instance_config_map"], None),
        args=["dagster", "api", "execute_step"],
        job_name="step",
        user_defined_k8s_config=context.run_k8s_config,
        pod_name="step",
    )
    spec = job.spec.template.spec
    [main] = spec.containers
    assert main.resources.limits == {"memory": "49152Mi", "nvidia.com/gpu": "1"}
    assert main.resources.requests == {"cpu": "250m", "memory": "49152Mi"}
    assert main.security_context.capabilities.drop == ["ALL"]
    assert spec.security_context.run_as_non_root is True
    assert [toleration.key for toleration in spec.tolerations] == ["nvidia.com/gpu"]
    assert {mount.mount_path for mount in main.volume_mounts} >= {"/data", "/weights", "/dev/shm"}
    assert {source.config_map_ref.name for source in main.env_from if source.config_map_ref} == {"panic-values"}
    assert {source.secret_ref.name for source in main.env_from if source.secret_ref} == {"panic-postgres"}
    assert spec.affinity.node_affinity is not None


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_the_kustomization_renders_with_one_image_for_code_and_runs():
    rendered = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True).stdout
    documents = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(rendered)}
    assert all(d["metadata"]["namespace"] == "panic" for d in documents.values())
    assert yaml.safe_load(documents["ConfigMap", "panic-instance"]["data"]["dagster.yaml"]) == INSTANCE
    assert documents["ConfigMap", "panic-values"]["data"] == VALUES
    [code] = documents["Deployment", "code"]["spec"]["template"]["spec"]["containers"]
    assert code["image"] == "registry.example.org/panic-code:0.1.0"
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": code["image"]} in code["env"]
