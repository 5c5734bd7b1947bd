"""Errors of resources and of the API server, as a tree.

OperatorError
+-- CannotStart              the process is configured wrongly; its administrator must fix it
+-- InvalidResource          the resource is invalid; its author must fix it
+-- StorageRestored          the storage of the API server is of another time than what is known
+-- ClusterError             a request to the API server failed
    +-- NameTaken            a foreign object has the name of a child
    +-- NamespaceTerminating the namespace is being deleted with everything in it
    +-- Unavailable          the API server is unreachable or overloaded
        +-- Occupied         an object to create exists
        +-- KindMissing      the CRD of a kind is not installed
        +-- WatchFailed      the API server sent an error in a watch
        +-- Fenced           this replica may have lost its Lease, so it does not write

`control/reconciler.py` turns them into conditions or retries. Errors that stop the process are not
in this tree: `StopRequested` and `TaskExited` (`process/lifecycle.py`), `LeaseLost`
(`process/leader_election.py`).
"""


class OperatorError(Exception):
    """Base class of errors that a reconcile handles."""


class CannotStart(OperatorError):
    """A process cannot start with its settings, its kubeconfig or its port."""


class InvalidResource(OperatorError):
    """The resource is invalid.

    Attributes:
        field: path of the field, such as `spec.engine.extraArgs`.
        message: what is wrong and what to write instead.
    """

    def __init__(self, field: str, message: str) -> None:
        # Messages of rules begin with the field.
        super().__init__(message if message.startswith(field) else f"{field}: {message}")
        self.field = field
        self.message = message


class StorageRestored(OperatorError):
    """Resource versions went back, as after a restore of etcd. The process has to start anew."""


class ClusterError(OperatorError):
    """A request to the API server failed.

    Attributes:
        status: HTTP status, 0 without a response.
        reason: message of the API server.
    """

    def __init__(self, status: int, reason: str, request: str) -> None:
        super().__init__(f"{request}: {status} {reason}")
        self.status = status
        self.reason = reason


class Unavailable(ClusterError):
    """The API server is unreachable or overloaded.

    Attributes:
        retry_after: delay of the Retry-After header in seconds, 0 without one.
    """

    def __init__(self, status: int, reason: str, request: str, *, retry_after: float = 0.0) -> None:
        super().__init__(status, reason, request)
        self.retry_after = retry_after


class Fenced(Unavailable):
    """This replica may have lost its Lease, so the write was not sent."""


class Occupied(Unavailable):
    """An object to create exists: it must be read before anything is done about it."""


class WatchFailed(Unavailable):
    """The API server sent an error in a watch: changes may be lost until the next list."""


class KindMissing(Unavailable):
    """The API server does not serve a kind: its CRD is not installed."""


class NameTaken(ClusterError):
    """A foreign object has the name of a child."""


class NamespaceTerminating(ClusterError):
    """The namespace is being deleted with everything in it."""
