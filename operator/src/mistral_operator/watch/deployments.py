"""Facts of live Deployments. Pure."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mistral_operator.kube import names
from mistral_operator.kube.objects import Body


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """The Deployment of an endpoint."""

    generation: int = 0
    observed_generation: int = 0
    desired: int = 0
    replicas: int = 0
    updated: int = 0
    ready: int = 0
    replica_failure: str = ""
    """Reason why pods cannot be created, such as a quota or a security policy."""
    paused: bool = False
    """The controller keeps the pods when their template changes."""
    applied: str = ""
    """Digest of what the operator applied last, from the annotation."""
    template: str = ""
    """Digest of the pod template, as far as the operator writes it."""
    images: tuple[str, ...] = ()
    """Images in the pod template, of containers and of volumes."""
    prefetched: str = ""
    """Which model of its pods is on which claim, where it was fetched in advance."""

    @property
    def keeps_old_pods(self) -> bool:
        """Every replica is ready, and an edit of the pods waits until the rollout is not paused."""
        ready = self.replicas == self.ready == self.desired > self.updated
        return self.paused and ready and self.observed_generation >= self.generation

    @property
    def all_updated(self) -> bool:
        """The controller has observed the current generation, and every pod has its template."""
        return self.observed_generation >= self.generation and self.replicas == self.updated

    @property
    def serves_less(self) -> bool:
        """Replicas are ready in the current configuration, and fewer than desired."""
        return self.all_updated and 0 < self.ready < self.desired

    @property
    def settled(self) -> bool:
        """The controller has observed the current generation, and the rollout is complete."""
        return self.all_updated and self.replicas == self.ready == self.desired


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """The Deployment of the router of an endpoint."""

    ready: int = 0
    desired: int = 0
    replica_failure: str = ""
    """Reason why pods cannot be created."""


def deployment_facts(body: Body) -> DeploymentFacts:
    """Return the facts of a Deployment."""
    status = body.get("status", {})
    conditions: Iterable[Body] = status.get("conditions", ())
    annotations = body["metadata"].get("annotations", {})
    failure = next((one for one in conditions if one["type"] == "ReplicaFailure"), {})
    return DeploymentFacts(
        generation=body["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        desired=body.get("spec", {}).get("replicas", 1),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        replica_failure=failure.get("message", "") if failure.get("status") == "True" else "",
        paused=bool(body.get("spec", {}).get("paused")),
        applied=annotations.get(names.ANNOTATION_APPLIED, ""),
        template=template_digest(body["spec"]["template"]) if _has_template(body) else "",
        images=tuple(_images(body["spec"]["template"])) if _has_template(body) else (),
        prefetched=annotations.get(names.ANNOTATION_PREFETCHED, ""),
    )


def _has_template(deployment: Body) -> bool:
    return "template" in deployment.get("spec", {})


def _images(template: Body) -> Iterator[str]:
    pod = template.get("spec", {})
    yield from (one["image"] for one in pod.get("containers", ()) if "image" in one)
    volumes = (one.get("image") or {} for one in pod.get("volumes") or ())
    yield from (one["reference"] for one in volumes if "reference" in one)


_RESTARTED = "kubectl.kubernetes.io/"
"""Prefix of the annotation of `kubectl rollout restart`, which is not the operator's."""


def template_digest(template: Body) -> str:
    """Return a digest of a pod template: one annotation of it is a digest of the pod."""
    metadata = template.get("metadata", {})
    annotations = (metadata.get("annotations") or {}).items()
    kept = {key: one for key, one in annotations if not key.startswith(_RESTARTED)}
    text = json.dumps([metadata.get("labels"), kept], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
