"""The example for Kubernetes is a RayJob, and its parts fit each other."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from support.block_checks import parsed
from support.rayjob_schema import RAY_JOB

FILE = Path(__file__).parents[2] / "examples" / "kuberay.yaml"


@pytest.fixture
def job() -> Any:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_the_example_has_the_schema_of_a_ray_job(job: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(RAY_JOB)
    jsonschema.validate(job, RAY_JOB)


def test_a_field_that_does_not_exist_is_found(job: Any) -> None:
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 2
    with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
        jsonschema.validate(job, RAY_JOB)


def test_the_command_exists_and_the_pods_share_image_data_and_volume(job: Any) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for key in ("image", "env", "volumeMounts"):
        assert len({repr(pod["containers"][0][key]) for pod in pods}) == 1
    for pod in pods:
        mounted = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    name, context = parsed(shlex.split(job["spec"]["entrypoint"])[1:])
    assert (name, context.params["executor"]) == ("run", "ray")
    assert str(context.params["home"]).startswith(mounted["shared"])
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
