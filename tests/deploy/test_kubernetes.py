"""The manifests of Kubernetes; that kustomize and the schemas take them is in tests/cluster/test_tools.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from core import metrics
from launch import secret_files
from launch.settings import CLOSE_SECONDS
from paas.management.commands.work import JOB_SECONDS
from tests.deploy.files import DEPLOY, manifests, unknown

FOLDER = DEPLOY / "kubernetes"
RUNNING = ("web", "worker", "migrate")


def found(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in manifests() if (one["kind"], one["metadata"]["name"]) == (kind, name))


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = found("Job" if name == "migrate" else "Deployment", name)["spec"]["template"]["spec"]
    return spec


def settings() -> dict[str, str]:
    """What all processes are given."""
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    return dict(line.split("=", 1) for line in listed)


def test_the_platform_reads_what_it_is_given() -> None:
    own = {variable["name"] for name in RUNNING for variable in pod(name)["containers"][0].get("env", [])}
    assert unknown(set(settings()) | own) == set()
    assert set(settings()).isdisjoint({"DATABASE_URL", "SECRET_KEY", "FIELD_KEYS", "API_KEY_PEPPER"})


def test_each_finds_the_secrets_that_it_reads(tmp_path: Path) -> None:
    made = set(secret_files.make(tmp_path / "secrets", postgres="postgres:5432", redis="redis:6379"))
    for name in RUNNING:
        own = {one["name"]: one["value"] for one in pod(name)["containers"][0].get("env", [])}
        wanted = {Path(path).name for key, path in (settings() | own).items() if key.endswith("_FILE")}
        volume = next(one["secret"] for one in pod(name)["volumes"] if one["name"] == "secrets")
        given = {item["path"] for item in volume["items"]} if "items" in volume else made
        assert wanted <= given, name
        assert given <= made
        if name == "web":
            assert not {"database_owner_url", "database_admin_url", "postgres_password", "backup_key"} & given


def test_keys_can_be_changed_and_backups_are_encrypted() -> None:
    assert "SECRET_KEY_FALLBACKS_FILE" in settings()
    assert "BACKUP_KEY_FILE" in {one["name"] for one in pod("worker")["containers"][0]["env"]}


def test_few_rights() -> None:
    for name in RUNNING:
        spec = pod(name)
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert rights["allowPrivilegeEscalation"] is False, name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_who_stops_has_the_time_for_it() -> None:
    notice, drain = int(settings()["STOP_NOTICE_SECONDS"]), int(settings()["DRAIN_SECONDS"])
    probe = pod("web")["containers"][0]["readinessProbe"]
    assert probe["httpGet"]["path"] == "/readyz/process"
    assert notice > probe["periodSeconds"] * probe["failureThreshold"], "it is out of the service before it refuses"
    assert pod("web")["terminationGracePeriodSeconds"] > notice + drain + CLOSE_SECONDS
    assert pod("worker")["terminationGracePeriodSeconds"] > JOB_SECONDS + drain + CLOSE_SECONDS


def test_selectors_and_scales() -> None:
    for name in ("web", "worker"):
        labels = found("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "PodDisruptionBudget"):
            assert found(kind, name)["spec"]["selector"]["matchLabels"].items() <= labels.items(), kind
        scaler = found("HorizontalPodAutoscaler", name)["spec"]
        assert scaler["scaleTargetRef"]["name"] == name
        assert scaler["minReplicas"] >= 2
        assert "replicas" not in found("Deployment", name)["spec"], "the scaler says how many"


def test_the_metric_to_scale_by_is_one_of_ours() -> None:
    component = yaml.safe_load((FOLDER / "runs" / "kustomization.yaml").read_text())
    patch = yaml.safe_load(component["patches"][0]["patch"])[0]
    asked = patch["value"]["pods"]["metric"]["name"]
    assert (
        asked
        in Path(metrics.__file__).read_text()
        + (Path(metrics.__file__).parents[1] / "paas" / "telemetry.py").read_text()
    )
    assert asked in (FOLDER / "runs" / "adapter-rules.yaml").read_text()


def test_prometheus_finds_the_processes() -> None:
    job = yaml.safe_load((DEPLOY / "prometheus" / "kubernetes.yml").read_text())["scrape_configs"][0]
    namespace = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["namespace"]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [namespace]}}]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    for name in ("web", "worker"):
        labels = found("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == kept["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
        ports = {one["name"]: one["containerPort"] for one in pod(name)["containers"][0]["ports"]}
        assert str(ports[kept["__meta_kubernetes_pod_container_port_name"]]) == settings()["METRICS_PORT"]


def test_nothing_private_is_reached() -> None:
    internet = found("NetworkPolicy", "internet")["spec"]["egress"][0]["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(internet["except"])
    closed = found("NetworkPolicy", "nothing-by-default")["spec"]
    assert (closed["podSelector"], set(closed["policyTypes"])) == ({}, {"Ingress", "Egress"})
