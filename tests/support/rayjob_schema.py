"""The part of the schema of KubeRay's RayJob (ray.io/v1) that the example uses; other fields are refused.

The types are those of the definition in KubeRay 1.7, against which the example is valid as a whole.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
QUANTITIES: Schema = {"type": "object", "additionalProperties": {"type": ["integer", "string"]}}


def fields(required: str = "", **properties: Schema) -> Schema:
    """Return the schema of an object with these fields, of which some are required."""
    known = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**known, "required": required.split()}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


CONTAINER = fields(
    "name",
    name=TEXT,
    image=TEXT,
    env=listed(fields("name", name=TEXT, value=TEXT)),
    resources=fields(limits=QUANTITIES, requests=QUANTITIES),
    volumeMounts=listed(fields("name mountPath", name=TEXT, mountPath=TEXT)),
)
POD = fields(
    "containers",
    containers=listed(CONTAINER),
    volumes=listed(fields("name", name=TEXT, persistentVolumeClaim=fields("claimName", claimName=TEXT))),
)
TEMPLATE = fields("spec", spec=POD)
CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    headGroupSpec=fields("template", rayStartParams=TEXTS, template=TEMPLATE),
    workerGroupSpecs=listed(
        fields(
            "groupName maxReplicas minReplicas template",
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        )
    ),
)
RAY_JOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}),
    spec=fields(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=WHOLE,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=WHOLE,
        rayClusterSpec=CLUSTER,
    ),
)
