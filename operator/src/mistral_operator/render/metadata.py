"""The metadata of every child, and the digest of its content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mistral_operator.api import Resource
from mistral_operator.kube import names

KubernetesObject = dict[str, Any]
"""An object in the form of the API server. It is never modified after rendering."""


def child(
    resource: Resource,
    api_version: str,
    kind: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> KubernetesObject:
    """Return a child with its metadata.

    Args:
        resource: its owner.
        api_version: of its kind.
        kind: its kind.
        name: its name.
        labels: labels besides those of every child.
        annotations: its annotations.
        fields: its other top-level fields.
    """
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": {**(labels or {}), **names.labels(resource.name)},
            **({"annotations": dict(annotations)} if annotations else {}),
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
