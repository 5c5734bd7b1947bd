"""Writes the NetworkPolicies of the activators: who may call which endpoint at its port there.

They lie in the operator's own namespace beside the policy of the chart, which opens none of these
ports. They select the same pods as that one, and are deleted with it.
"""

import logging
from collections.abc import Mapping

from mistral_operator.kube import kinds, names
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, Unavailable
from mistral_operator.kube.objects import Body
from mistral_operator.kube.transport import Object
from mistral_operator.render.activator_network import (
    NO_CALLERS,
    Callers,
    activator_policy,
    by_policy,
)

log = logging.getLogger(__name__)


class ActivatorPolicies:
    """Writes these policies when they changed.

    Args:
        cluster: the cluster.
        namespace: namespace of the operator.
        chart_policy: name of the policy of the chart for the pods of the activators.
    """

    def __init__(self, cluster: Cluster, namespace: str, chart_policy: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._chart_policy = chart_policy
        self._of_chart: Body | None = None
        self._written: dict[int, dict[int, Callers]] = {}
        """The callers in each policy, by its first port."""
        self._live: dict[int, Object] = {}
        """Each policy after that."""
        self._rejected: set[Callers] = set()
        """Callers that the API server did not accept; the next operator tries them again."""

    async def publish(self, callers: Mapping[int, Callers]) -> None:
        """Write each policy whose callers changed.

        Callers that the API server rejects, whatever for, are left out: others are in the same
        policy. Then only the operator's namespace can call.

        Args:
            callers: the callers of each port in use.

        Raises:
            ClusterError: a policy cannot be written. Others are, as far as it can be told.
        """
        if self._of_chart is None:
            self._of_chart = await self._read_of_chart()
        self._rejected &= {*callers.values()}
        desired = by_policy(callers)
        for first in self._written.keys() - desired.keys():
            desired[first] = {}
        failures = []
        for first, block in desired.items():
            if self._written.get(first) == block:
                continue
            try:
                self._live[first] = await self._write(first, block, self._of_chart)
            except Unavailable:
                raise
            except ClusterError as error:
                failures.append(error)
            else:
                self._written[first] = block
        if failures:
            raise failures[0]

    async def were_changed(self) -> bool:
        """Return whether someone edited or deleted a policy, which the next call writes again.

        Raises:
            ClusterError: it cannot be told.
        """
        of_chart = await self._read_of_chart()
        before, self._of_chart = self._of_chart, of_chart
        if before is None or _identity(before) != _identity(of_chart):
            self._written.clear()
            return True
        changed = []
        for first in self._written:
            name = names.activator_policy(first)
            if not _is_same(await self._get(name), self._live[first]):
                log.info("NetworkPolicy %s was edited or deleted", name)
                changed.append(first)
        for first in changed:
            del self._written[first]
        return bool(changed)

    async def _write(self, first: int, callers: Mapping[int, Callers], of_chart: Body) -> Object:
        """Write one policy and return the live one."""
        desired = self._policy(first, callers, self._rejected, of_chart)
        if first not in self._written:
            live = await self._get(desired["metadata"]["name"])
            if _is_same(live, desired):
                return desired
        try:
            return await self._cluster.apply(desired, force=True)
        except Unavailable:
            raise
        except ClusterError as error:
            rejected = self._rejected | await self._find_rejected(first, callers, of_chart)
            if rejected == self._rejected:
                raise
            ports = [port for port, one in callers.items() if one in rejected]
            log.warning("no callers at port %s: %s", ", ".join(map(str, ports)), error)
            desired = self._policy(first, callers, rejected, of_chart)
            live = await self._cluster.apply(desired, force=True)
            self._rejected = rejected
            return live

    async def _find_rejected(
        self, first: int, callers: Mapping[int, Callers], of_chart: Body
    ) -> set[Callers]:
        """Return those callers that the API server rejects by themselves."""
        rejected = set()
        for port, one in {one: (port, one) for port, one in callers.items()}.values():
            try:
                await self._cluster.try_apply(activator_policy(first, {port: one}, of_chart))
            except Unavailable:
                raise
            except ClusterError:
                rejected.add(one)
        return rejected

    def _policy(
        self, first: int, callers: Mapping[int, Callers], rejected: set[Callers], of_chart: Body
    ) -> Object:
        accepted = {port: NO_CALLERS if one in rejected else one for port, one in callers.items()}
        return activator_policy(first, accepted, of_chart)

    async def _read_of_chart(self) -> Body:
        body = await self._get(self._chart_policy)
        if body is None:
            raise ClusterError(
                404,
                "not found; the chart creates it, and without it the operator cannot tell which"
                " pods are the activators",
                f"NetworkPolicy {self._namespace}/{self._chart_policy}",
            )
        return body

    async def _get(self, name: str) -> Object | None:
        return await self._cluster.get(kinds.NETWORK_POLICY, self._namespace, name)


def _identity(of_chart: Body) -> tuple[str, Object]:
    """Return what of the policy of the chart the others contain."""
    return of_chart["metadata"]["uid"], of_chart["spec"]["podSelector"]


def _is_same(live: Body | None, other: Body) -> bool:
    return live is not None and _content(live) == _content(other)


def _content(policy: Body) -> Object:
    """Return what is compared: the API server leaves out an empty list and adds metadata."""
    owners = policy["metadata"].get("ownerReferences") or ()
    return {"ingress": [], **policy["spec"], "owners": [one["uid"] for one in owners]}
