"""Objects that a resource refers to and that a pod cannot report missing.

A missing Secret shows in the pod's container status, with its name. A missing ConfigMap or claim
that is mounted as a volume does not: the pod just stays pending. So the operator looks, but only
while the endpoint is not ready, and never at a Secret. Of a claim that is there but has no volume,
the pod tells neither the name nor the cause.
"""

from mistral_operator.api import Reason, Resource
from mistral_operator.api.status import Problem
from mistral_operator.api.volumes import ConfigMapFiles, Volume
from mistral_operator.control.claims import OF_ANOTHER, explained
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import CLAIM, CONFIG_MAP
from mistral_operator.kube.objects import Body
from mistral_operator.status.cache import not_bound
from mistral_operator.watch.facts import Observed, claim_facts


async def missing_references(
    cluster: Cluster, resource: Resource, observed: Observed
) -> list[Problem]:
    """Return what is missing; empty while the endpoint is ready, whatever happened since."""
    if observed.deployment is not None and observed.deployment.settled:
        return []
    problems = []
    for look in (_config_map, _claim, _volumes):
        try:
            problems.append(await look(cluster, resource))
        except Unavailable:
            raise
        except ClusterError as error:
            problems.append(Problem(Reason.APPLY_FAILED, str(error)))
    return [problem for problem in problems if problem is not None]


async def _config_map(cluster: Cluster, resource: Resource) -> Problem | None:
    reference = resource.spec.system_prompt.config_map
    if resource.spec.system_prompt.source != "ConfigMap" or reference is None:
        return None
    body = await cluster.get(CONFIG_MAP, resource.namespace, reference.name)
    if body is None:
        message = f"ConfigMap {reference.name} does not exist"
    elif reference.key not in {**body.get("data", {}), **body.get("binaryData", {})}:
        message = f"ConfigMap {reference.name} has no key {reference.key}"
    else:
        return None
    return Problem(
        Reason.CONFIG_MAP_MISSING,
        f"{message}: create it, or correct spec.systemPrompt.configMap",
    )


async def _claim(cluster: Cluster, resource: Resource) -> Problem | None:
    reference = resource.spec.model.source.persistent_volume_claim
    if reference is None:
        return None
    field = "spec.model.source.persistentVolumeClaim.claimName"
    return await _problem_of_claim(cluster, resource.namespace, reference.claim_name, field)


async def _problem_of_claim(
    cluster: Cluster, namespace: str, name: str, field: str
) -> Problem | None:
    """Return that a claim does not exist, or why it cannot be bound."""
    body = await cluster.get(CLAIM, namespace, name)
    if body is None:
        message = f"PersistentVolumeClaim {name} does not exist: create it, or correct {field}"
        return Problem(Reason.CLAIM_MISSING, message)
    if body.get("status", {}).get("phase") not in _UNBOUND:
        return None
    facts = claim_facts(body, body["metadata"]["uid"])
    facts = await explained(cluster, namespace, facts, OF_ANOTHER)
    if not facts.hopeless:
        return None  # it may take a moment, or wait for the pod to be scheduled
    return Problem(Reason.CLAIM_PENDING, f"{not_bound(facts)}. Its name is in {field}")


_UNBOUND = {"Pending", "Lost"}
"""Phases of a claim that no pod can use."""


async def _volumes(cluster: Cluster, resource: Resource) -> Problem | None:
    """Return the first object of an additional volume that cannot be mounted."""
    for volume in resource.spec.pod.volumes:
        field = f"volume {volume.name} in spec.pod.volumes, or in the chart value endpoints.pod"
        if (claim := volume.persistent_volume_claim) is not None:
            problem = await _problem_of_claim(cluster, resource.namespace, claim.claim_name, field)
            if problem is not None:
                return problem
        for files in _config_maps(volume):
            body = await cluster.get(CONFIG_MAP, resource.namespace, files.name)
            missing = _missing_of(files, body)
            if missing is not None:
                message = f"{missing}: create it, or correct {field}"
                return Problem(Reason.CONFIG_MAP_MISSING, message)
    return None


def _config_maps(volume: Volume) -> list[ConfigMapFiles]:
    sources = volume.projected.sources if volume.projected is not None else ()
    maps = (volume.config_map, *(one.config_map for one in sources))
    return [one for one in maps if one is not None]


def _missing_of(files: ConfigMapFiles, body: Body | None) -> str | None:
    """Return what of the files of a ConfigMap does not exist."""
    if body is None:
        return f"ConfigMap {files.name} does not exist"
    keys = {*(body.get("data") or {}), *(body.get("binaryData") or {})}
    wrong = next((one.key for one in files.items if one.key not in keys), None)
    return None if wrong is None else f"ConfigMap {files.name} has no key {wrong}"
