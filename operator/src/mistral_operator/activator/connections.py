"""To which endpoint each connection was made: its port may have become that of another one."""

from asyncio import BaseTransport
from weakref import WeakKeyDictionary

from mistral_operator.activator.endpoints import Endpoint, Endpoints
from mistral_operator.kube.objects import Key
from mistral_server.guarded_http.guarded_server import port_of


class Connections:
    """The endpoints of the open connections.

    A client that keeps its connection goes on with the API key of its endpoint.

    Args:
        endpoints: the endpoints, by the ports that they have now.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._keys: WeakKeyDictionary[BaseTransport, Key] = WeakKeyDictionary()

    def accept(self, transport: BaseTransport) -> str | None:
        """Remember the endpoint of a new connection; return its namespace, None without one."""
        endpoint = self._endpoints.by_port(port_of(transport))
        if endpoint is None:
            return None
        self._keys[transport] = endpoint.key
        return endpoint.key.namespace

    def endpoint_of(self, transport: BaseTransport | None) -> Endpoint | None:
        """Return the endpoint of a connection, None if it has its port no more."""
        endpoint = self._endpoints.by_port(port_of(transport))
        if endpoint is None or transport is None:
            return None
        return endpoint if self._keys.get(transport) == endpoint.key else None
