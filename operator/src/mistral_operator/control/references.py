"""Objects that a resource refers to and that a pod cannot report missing.

A missing Secret shows in the pod's container status, with its name. A missing ConfigMap or claim
that is mounted as a volume does not: the pod just stays pending. So the operator looks, but only
while the endpoint is not ready, and never at a Secret.
"""

from mistral_operator.api import Reason, Resource
from mistral_operator.api.status import Problem
from mistral_operator.api.volumes import Volume
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.kinds import CLAIM, CONFIG_MAP
from mistral_operator.watch.facts import Observed


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
    elif reference.key not in body.get("data", {}):
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
    if await cluster.get(CLAIM, resource.namespace, reference.claim_name) is not None:
        return None
    return Problem(
        Reason.CLAIM_MISSING,
        f"PersistentVolumeClaim {reference.claim_name} does not exist: create it, or correct"
        " spec.model.source.persistentVolumeClaim.claimName",
    )


async def _volumes(cluster: Cluster, resource: Resource) -> Problem | None:
    """Return the first object of an additional volume that does not exist."""
    for volume in resource.spec.pod.volumes:
        field = f"volume {volume.name} in spec.pod.volumes, or in the chart value endpoints.pod"
        claim = volume.persistent_volume_claim
        if claim is not None:
            at = resource.namespace, claim.claim_name
            if await cluster.get(CLAIM, *at) is None:
                return Problem(
                    Reason.CLAIM_MISSING,
                    f"PersistentVolumeClaim {claim.claim_name} does not exist: create it, or"
                    f" correct {field}",
                )
        for name in _config_maps(volume):
            if await cluster.get(CONFIG_MAP, resource.namespace, name) is None:
                return Problem(
                    Reason.CONFIG_MAP_MISSING,
                    f"ConfigMap {name} does not exist: create it, or correct {field}",
                )
    return None


def _config_maps(volume: Volume) -> list[str]:
    sources = volume.projected.sources if volume.projected is not None else ()
    maps = (volume.config_map, *(one.config_map for one in sources))
    return [one.name for one in maps if one is not None]
