"""What the store keeps of a live child: its content, and what drift is measured by."""

import zlib
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Body
from mistral_operator.watch.daemon_sets import DaemonSetFacts, daemon_set_facts
from mistral_operator.watch.deployments import DeploymentFacts, deployment_facts
from mistral_operator.watch.jobs import JobFacts, job_facts

_FASTEST = 1
"""Compression level that takes 30 microseconds for a Deployment."""

_SERVER_METADATA = {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"}
_OWN_ANNOTATIONS = f"{names.GROUP}/"
"""Prefix of the annotations of the operator. Others are no drift, not even those that a resource
sets: the Deployment controller counts rollouts in one, load balancers of clouds write theirs, and
anyone may add 256 KB of them."""


@dataclass(frozen=True, slots=True)
class LiveChild:
    """A live child without status and server-managed metadata."""

    kind: kinds.Kind
    name: str
    uid: str
    controller_uid: str | None
    """Uid of its controller owner reference."""
    digest: str | None
    """Digest of the last applied version, from the annotation; None on a foreign object."""
    terminating: bool
    fingerprint: str
    """Hash of the content."""
    content: bytes = field(repr=False, compare=False)
    """The content as compressed JSON, which takes a twentieth of the memory of the object."""
    deployment: DeploymentFacts | None = None
    daemon_set: DaemonSetFacts | None = None
    job: JobFacts | None = None
    phase: str = ""
    """Of a PersistentVolumeClaim, which can lose its volume."""

    def object(self) -> dict[str, Any]:
        """Return the content as an object."""
        decoded: dict[str, Any] = msgspec.json.decode(zlib.decompress(self.content))
        return decoded


def compared_metadata(metadata: Body) -> Body:
    """Return what of the metadata of an object is drift if it differs."""
    kept = {key: one for key, one in metadata.items() if key not in _SERVER_METADATA}
    if "annotations" in kept:
        kept["annotations"] = {
            key: one for key, one in kept["annotations"].items() if key.startswith(_OWN_ANNOTATIONS)
        }
    return kept


def live_child(kind: kinds.Kind, body: Body) -> LiveChild:
    """Return the stored value of a child."""
    metadata = body["metadata"]
    content = {
        # Items of lists lack these two.
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": compared_metadata(metadata),
        **{key: one for key, one in body.items() if key not in {"metadata", "status"}},
    }
    encoded = msgspec.json.encode(content, order="sorted")
    controllers = [
        one["uid"] for one in metadata.get("ownerReferences", ()) if one.get("controller")
    ]
    return LiveChild(
        kind=kind,
        name=metadata["name"],
        uid=metadata["uid"],
        controller_uid=controllers[0] if controllers else None,
        digest=metadata.get("annotations", {}).get(names.ANNOTATION_APPLIED),
        terminating="deletionTimestamp" in metadata,
        fingerprint=blake2b(encoded, digest_size=12).hexdigest(),
        content=zlib.compress(encoded, _FASTEST),
        deployment=deployment_facts(body) if kind == kinds.DEPLOYMENT else None,
        daemon_set=daemon_set_facts(body) if kind == kinds.DAEMON_SET else None,
        job=job_facts(body) if kind == kinds.JOB else None,
        phase=body.get("status", {}).get("phase", "") if kind == kinds.CLAIM else "",
    )
