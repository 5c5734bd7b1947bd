"""Reads what `doctor` diagnoses."""

import importlib.metadata
from collections.abc import Iterable
from dataclasses import replace

from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from mistral_operator.kube.objects import Body
from mistral_operator.kube.transport import Object
from mistral_operator.plugin.doctor.admission import service_of
from mistral_operator.plugin.doctor.installation import runs
from mistral_operator.plugin.doctor.rendered import secret_names
from mistral_operator.plugin.doctor.snapshot import Bodies, Snapshot
from mistral_operator.plugin.reader import Reader

_OPERATOR, _ACTIVATOR = names.MANAGED_BY, f"{names.MANAGED_BY}-activator"
"""Names of the applications in the chart, without its value nameOverride."""


def program_version() -> str:
    """Return the version of this program."""
    try:
        return importlib.metadata.version("mistral-small-operator")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


class SnapshotReader:
    """Reads everything that the checks need.

    Args:
        reader: of the cluster.
        namespace: of the endpoints.
        operator_namespace: of the operator; None looks for it in all namespaces.
    """

    def __init__(self, reader: Reader, namespace: str, operator_namespace: str | None) -> None:
        self._reader = reader
        self._namespace = namespace
        self._operator_namespace = operator_namespace

    async def read(self) -> Snapshot:
        """Return the snapshot."""
        definitions = await self._all(kinds.DEFINITION)
        return await self._with_details(
            Snapshot(
                namespace=self._namespace,
                now=self._reader.now(),
                version=program_version(),
                nodes=await self._all(kinds.NODE),
                resources=await self._within(kinds.RESOURCE),
                deployments=await self._within(kinds.DEPLOYMENT, kinds.SELECTOR),
                storage_classes=await self._all(kinds.STORAGE_CLASS),
                quotas=await self._within(kinds.QUOTA),
                limit_ranges=await self._within(kinds.LIMIT_RANGE),
                network_policies=await self._within(kinds.NETWORK_POLICY),
                pod_monitors=await self._within(kinds.POD_MONITOR, kinds.SELECTOR),
                namespace_body=await self._reader.get(kinds.NAMESPACE, "", self._namespace),
                definition=_own_definition(definitions),
                definition_is_readable=definitions is not None,
                operators=await self._of_installation(_OPERATOR, "run"),
                activators=await self._of_installation(_ACTIVATOR, "activate"),
                webhooks=await self._listed(kinds.VALIDATING_WEBHOOK, kinds.MUTATING_WEBHOOK),
                prometheuses=await self._listed(kinds.PROMETHEUS, kinds.PROMETHEUS_AGENT),
                victoria_agents=await self._all(kinds.VM_AGENT),
            )
        )

    async def _with_details(self, snapshot: Snapshot) -> Snapshot:
        """Add what other objects of the snapshot name."""
        namespaces = {one["metadata"]["namespace"] for one in snapshot.operators or ()}
        return replace(
            snapshot,
            operator_policies=await self._policies(namespaces),
            leases=await self._leases(namespaces),
            services=await self._services(snapshot.webhooks or ()),
            secrets=await self._secrets(snapshot),
        )

    async def _all(self, kind: Kind) -> Bodies | None:
        return _tuple(await self._reader.all(kind))

    async def _within(self, kind: Kind, selector: str | None = None) -> Bodies | None:
        return _tuple(await self._reader.all(kind, self._namespace, selector))

    async def _of_installation(self, application: str, command: str) -> Bodies | None:
        """Return the Deployments of an application; in a namespace that is named, by any name."""
        namespace = self._operator_namespace
        selector = f"{names.LABEL_NAME}={application}" if namespace is None else None
        listed = await self._reader.all(kinds.DEPLOYMENT, namespace, selector)
        return _tuple(
            None if listed is None else [one for one in listed if selector or runs(one, command)]
        )

    async def _listed(self, *several: Kind) -> Bodies | None:
        """Return objects of several kinds, each with its kind; None if one may not be read."""
        bodies = list[Body]()
        for kind in several:
            listed = await self._reader.all(kind)
            if listed is None:
                return None
            # Objects of a list do not say their kind.
            bodies += [{**one, "kind": kind.kind} for one in listed]
        return tuple(bodies)

    async def _policies(self, namespaces: Iterable[str]) -> Bodies:
        policies = [await self._reader.all(kinds.NETWORK_POLICY, one) for one in namespaces]
        return tuple(body for listed in policies for body in listed or ())

    async def _leases(self, namespaces: Iterable[str]) -> dict[str, Body | None]:
        leases = dict[str, Body | None]()
        for one in namespaces:
            exists = await self._reader.exists(kinds.LEASE, one, names.LEASE)
            if exists is not None:
                body = await self._reader.get(kinds.LEASE, one, names.LEASE) if exists else None
                leases[one] = body
        return leases

    async def _services(self, webhooks: Bodies) -> dict[tuple[str, str], bool]:
        services = (service_of(one) for body in webhooks for one in body.get("webhooks") or ())
        return {
            one: exists
            for one in {service for service in services if service is not None}
            if (exists := await self._reader.exists(kinds.SERVICE, *one)) is not None
        }

    async def _secrets(self, snapshot: Snapshot) -> dict[str, bool]:
        named = {name for one in snapshot.endpoints() for name in secret_names(one.spec)}
        return {
            name: exists
            for name in sorted(named)
            if (exists := await self._reader.exists(kinds.SECRET, self._namespace, name))
            is not None
        }


def _own_definition(definitions: Bodies | None) -> Body | None:
    name = f"{names.PLURAL}.{names.GROUP}"
    return next((one for one in definitions or () if one["metadata"]["name"] == name), None)


def _tuple(listed: list[Object] | None) -> Bodies | None:
    return None if listed is None else tuple(listed)
