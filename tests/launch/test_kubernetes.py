"""launch/kubernetes.yaml: Kubernetes' own schema, and that its parts mean the same run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jaxfacs.runtime import distributed, heartbeat, lost, preemption
from jaxfacs.train import loop

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    parsed = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in parsed}


@pytest.fixture(scope="module")
def job(documents) -> dict:
    return documents["Job"]["spec"]


@pytest.fixture(scope="module")
def pod(job) -> dict:
    return job["template"]["spec"]


@pytest.fixture(scope="module")
def train(pod) -> dict:
    (container,) = pod["containers"]
    return container


@pytest.fixture(scope="module")
def environment(train) -> dict:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in train["env"]}


@pytest.mark.parametrize("version", ["1.29", "1.34"])
def test_every_document_fits_the_schema_of_kubernetes(documents, version):
    validator = pytest.importorskip(
        "kubernetes_validate",
        reason="the schema is checked where kubernetes-validate is installed: make test-launch",
    )
    for document in documents.values():
        validator.validate(document, version, strict=True)
    broken = {**documents["Job"], "spec": {**documents["Job"]["spec"], "completion": 2}}
    with pytest.raises(validator.ValidationError):
        validator.validate(broken, version, strict=True)


def test_the_processes_are_counted_alike_everywhere(job, environment):
    assert job["completionMode"] == "Indexed"
    count = {job["completions"], job["parallelism"], int(environment[distributed.COUNT])}
    assert len(count) == 1
    path = environment[distributed.INDEX]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def test_the_coordinator_is_pod_0_behind_the_headless_service(
    documents, job, pod, train, environment
):
    service, name = documents["Service"], documents["Job"]["metadata"]["name"]
    host, _, port = environment[distributed.COORDINATOR].partition(":")
    assert host == f"{name}-0.{service['metadata']['name']}"
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert [each["port"] for each in service["spec"]["ports"]] == [int(port)]
    assert [each["containerPort"] for each in train["ports"]] == [int(port)]


def test_restarts_follow_the_exit_codes_of_the_code(job, pod, train):
    rules = job["podFailurePolicy"]["rules"]
    by_code = {
        code: rule["action"]
        for rule in rules
        for code in rule.get("onExitCodes", {}).get("values", ())
    }
    assert by_code == {2: "FailJob", loop.GAVE_UP: "FailJob", preemption.EXIT_CODE: "Ignore"}
    assert not by_code.keys() & {heartbeat.HANG_EXIT_CODE, lost.EXIT_CODE}
    assert job["backoffLimit"] >= 2
    names = {r["onExitCodes"]["containerName"] for r in rules if "onExitCodes" in r}
    assert names == {train["name"]}
    assert pod["restartPolicy"] == "Never" and job["podReplacementPolicy"] == "Failed"


def test_the_work_directory_is_shared_and_its_heartbeat_is_probed(
    documents, pod, train, environment
):
    mounts = {each["mountPath"]: each["name"] for each in train["volumeMounts"]}
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in pod["volumes"]
        if "persistentVolumeClaim" in each
    }
    claim = documents["PersistentVolumeClaim"]
    assert claims[mounts["/shared"]] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert environment["WORKDIR"].startswith("/shared/") and "$(WORKDIR)" in train["args"]
    assert set(mounts.values()) == {each["name"] for each in pod["volumes"]}
    shell, _, probe = train["livenessProbe"]["exec"]["command"]
    assert shell == "sh" and re.search(r'alive\.py "\$WORKDIR" "\$JAXFACS_PROCESS_INDEX"', probe)
    assert train["livenessProbe"]["terminationGracePeriodSeconds"] < 60
    assert pod["terminationGracePeriodSeconds"] >= 120


def test_the_probes_command_runs_as_it_is_written(train, tmp_path):
    """With the image's paths replaced by those of here."""
    _, option, text = train["livenessProbe"]["exec"]["command"]
    # The checkout may lie in /tmp itself.
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/opt/jaxfacs/launch", str(LAUNCH))
    text = text.replace("exec python", f"exec {sys.executable}")
    (tmp_path / "jaxfacs.started").touch()
    finished = subprocess.run(
        [shutil.which("sh") or "sh", option, text],
        env={"WORKDIR": str(tmp_path), "JAXFACS_PROCESS_INDEX": "0"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr


def test_it_runs_without_privileges(pod, train):
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    assert train["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not train["securityContext"]["allowPrivilegeEscalation"]
    # Where the root file system may not be written, these must be volumes.
    assert {"/tmp", "/dev/shm"} <= {each["mountPath"] for each in train["volumeMounts"]}
