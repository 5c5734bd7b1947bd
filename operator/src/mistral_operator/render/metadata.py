"""The metadata of every child, and the digest of its content."""

import hashlib
import json
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names

KubernetesObject = dict[str, Any]
"""An object in the form of the API server. It is never modified after rendering."""


def child(
    resource: Resource, api_version: str, kind: str, name: str, **fields: Any
) -> KubernetesObject:
    """Return a child with its metadata; `fields` are its other top-level fields."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": names.labels(resource.name),
            "ownerReferences": [resource.owner_reference],
        },
        **fields,
    }


def with_applied_digest(rendered: KubernetesObject) -> KubernetesObject:
    """Return an object with the digest of its content in an annotation.

    The digest changes when a field is no longer rendered. A comparison of fields cannot detect
    that: the live object still has the field, and with it every desired field.
    """
    metadata = rendered["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_APPLIED: digest(rendered)}
    return {**rendered, "metadata": {**metadata, "annotations": annotations}}


def digest(rendered: KubernetesObject) -> str:
    """Return a digest of rendered content."""
    text = json.dumps(rendered, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
