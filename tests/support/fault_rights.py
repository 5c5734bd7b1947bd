"""A service account with the rights of the chart, which tests revoke and restore."""

from copy import deepcopy
from typing import Any

from chart_rendering import of_kind, render_all
from fault_api import Api
from mistral_operator.kube.kinds import Kind
from operator_rights import Right

Object = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"
_CLUSTER_ROLE = Kind(f"{_GROUP}/v1", "ClusterRole", "clusterroles", namespaced=False)
_BINDING = Kind(f"{_GROUP}/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
_SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
_HOME = "default"
"""Namespace of the service accounts; that of the operator under test has a Lease of its own."""


class Rights:
    """The rights of one service account.

    Args:
        api: where it is.
        name: of the service account and its role.
    """

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self._rules = chart_rules()

    async def grant(self) -> str:
        """Create the service account with every right of the chart, and return its token."""
        meta = {"metadata": {"name": self._name}}
        await self._api.create(
            _SERVICE_ACCOUNT, _HOME, {"apiVersion": "v1", "kind": "ServiceAccount", **meta}
        )
        role = {"apiVersion": _CLUSTER_ROLE.api_version, "kind": "ClusterRole", **meta}
        await self._api.request("POST", _CLUSTER_ROLE.path(), {**role, "rules": self._rules})
        binding = {
            "apiVersion": _BINDING.api_version,
            "kind": "ClusterRoleBinding",
            **meta,
            "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": self._name},
            "subjects": [{"kind": "ServiceAccount", "name": self._name, "namespace": _HOME}],
        }
        await self._api.request("POST", _BINDING.path(), binding)
        path = f"{_SERVICE_ACCOUNT.path(_HOME, self._name)}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token: str = (await self._api.request("POST", path, body))["status"]["token"]
        return token

    async def take(self, right: Right) -> None:
        """Revoke one right."""
        await self._set(without(self._rules, right))

    async def give_back(self) -> None:
        """Restore every right."""
        await self._set(self._rules)

    async def _set(self, rules: list[Object]) -> None:
        await self._api.merge(_CLUSTER_ROLE, "", self._name, {"rules": rules})


def chart_rules() -> list[Object]:
    """Return the rules of every role of the chart's operator."""
    roles = [one for kind in ("ClusterRole", "Role") for one in of_kind(render_all({}), kind)]
    rules = [
        rule
        for role in roles
        if "aggregationRule" not in role and not _is_for_users(role)
        for rule in role["rules"]
    ]
    return [{key: one for key, one in rule.items() if key != "resourceNames"} for rule in rules]


def without(rules: list[Object], right: Right) -> list[Object]:
    """Return rules without one right."""
    group, resource, verb = right
    result: list[Object] = []
    for rule in deepcopy(rules):
        hit = group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
        if not hit:
            result.append(rule)
            continue
        others = [one for one in rule["resources"] if one != resource]
        verbs = [one for one in rule["verbs"] if one != verb]
        result.append({**rule, "resources": others})
        result.append({**rule, "apiGroups": [group], "resources": [resource], "verbs": verbs})
    return [rule for rule in result if rule["resources"] and rule["verbs"]]


def _is_for_users(role: Object) -> bool:
    labels = role["metadata"].get("labels", {})
    return any(one.startswith("rbac.authorization.k8s.io/aggregate") for one in labels)
