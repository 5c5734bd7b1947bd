"""Which API keys start a replica of an endpoint that requires keys."""

from aiohttp import web

from mistral_operator.activator.endpoints import Endpoint
from mistral_operator.activator.key_checks import KeyChecks, TooManyChecks
from mistral_operator.activator.responses import error_response

_RETRY_SECONDS = 2


class NotAdmitted(Exception):
    """A request may not be queued, since it does not start a replica.

    Args:
        outcome: the outcome of the request, for the metric.
        response: what its client receives.
    """

    def __init__(self, outcome: str, response: web.Response) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.response = response


async def is_unknown(endpoint: Endpoint, key: str, source: str, checks: KeyChecks) -> bool:
    """Return whether a request that may be queued has an unknown key.

    Without digests every key is admitted, and only replicas judge. With digests, a wrong key is
    refused, except for one that finds out whether the Secret changed: see `Endpoint.may_probe`.

    Args:
        endpoint: the endpoint; no replica is ready.
        key: the key of the request.
        source: address of the client.
        checks: the checks of this process.

    Raises:
        NotAdmitted: the key does not start a replica.
    """
    if not endpoint.terms.keys:
        return False
    right = await _is_right(endpoint, key, source, checks)
    if right is None:
        return endpoint.is_strange(key)
    if right or endpoint.targets:
        # A replica that is ready by now judges itself.
        return False
    if endpoint.probing:
        raise NotAdmitted("wrong_key", _not_known_yet(endpoint))
    if not endpoint.may_probe():
        raise NotAdmitted("wrong_key", _wrong())
    namespace, name = endpoint.key
    endpoint.log.warning(
        "probe",
        f"{namespace}/{name}: a replica is started for an API key that the last one did not know,"
        " in case the Secret changed since",
    )
    return True


async def _is_right(endpoint: Endpoint, key: str, source: str, checks: KeyChecks) -> bool | None:
    """Return whether a key is right, None if that is not known."""
    if endpoint.keys is None:
        return None
    # The keys that clients use regularly are checked first.
    source = "" if key in endpoint.accepted_keys else source
    try:
        return await checks.is_right(
            endpoint.keys, key, namespace=endpoint.key.namespace, source=source
        )
    except TooManyChecks:
        raise NotAdmitted("unchecked_key", _too_many()) from None


def _wrong() -> web.Response:
    return error_response(
        401, "API key invalid: send a valid one as Authorization: Bearer KEY", "invalid_api_key"
    )


def _not_known_yet(endpoint: Endpoint) -> web.Response:
    message = "the API key is not known; the replica that is starting will check it"
    return error_response(503, message, "unknown_api_key", endpoint.retry_after())


def _too_many() -> web.Response:
    message = "too many API keys are being checked: try again"
    return error_response(503, message, "busy", _RETRY_SECONDS)
