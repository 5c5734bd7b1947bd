"""Errors of resources and of the API server, as a tree.

OperatorError
+-- InvalidResource      the resource cannot be served as written; only its author can fix it
+-- ClusterError         the API server refused or failed a request
    +-- NameTaken        a child's name belongs to an object that is not ours
    +-- NamespaceLeaving the namespace is being deleted, and everything in it
    +-- Unavailable      the API server cannot be reached or asks to come back later
        +-- KindMissing  the API server does not serve a kind, or not any more
        +-- Fenced       this replica may have lost its Lease, so it does not write

`control/reconciler.py` turns them into conditions or retries. What ends the whole process is not in
this tree: `StopRequested` and `PartEnded` (`process/lifecycle.py`), `LeaseLost`
(`process/leader_election.py`).
"""


class OperatorError(Exception):
    """Base of the errors that a reconcile handles."""


class InvalidResource(OperatorError):
    """The resource cannot be served as written.

    Attributes:
        field: path of the field, such as `spec.engine.extraArgs`.
        message: a sentence that says what to write instead.
    """

    def __init__(self, field: str, message: str) -> None:
        # The sentence of a rule names its field already.
        super().__init__(message if message.startswith(field) else f"{field}: {message}")
        self.field = field
        self.message = message


class ClusterError(OperatorError):
    """The API server refused or failed a request.

    Attributes:
        status: HTTP status, 0 if there was none.
        reason: the API server's own sentence.
    """

    def __init__(self, status: int, reason: str, request: str) -> None:
        super().__init__(f"{request}: {status} {reason}")
        self.status = status
        self.reason = reason


class Unavailable(ClusterError):
    """The API server cannot be reached, or asks to come back later.

    Attributes:
        retry_after: seconds after which the API server wants to be asked again, 0 if it named none.
    """

    def __init__(self, status: int, reason: str, request: str, *, retry_after: float = 0.0) -> None:
        super().__init__(status, reason, request)
        self.retry_after = retry_after


class Fenced(Unavailable):
    """This replica may have lost its Lease to another one, so the write was not sent."""


class KindMissing(Unavailable):
    """The API server does not serve a kind: its CRD is not installed, or not any more."""


class NameTaken(ClusterError):
    """A child's name belongs to an object that is not ours."""


class NamespaceLeaving(ClusterError):
    """The namespace is being deleted, and everything in it: there is nothing left to do."""
