"""Rejects redirects. The API server sends none that a client must follow.

It passes on the responses of pods (`pods/proxy`) unchanged. A redirect of a pod would be sent with
the token of the user to any path of the cluster, or without it to any host that the user reaches.
"""

import aiohttp

_FOLLOWED = {301, 302, 303, 307, 308}
"""Statuses that aiohttp follows; it returns others as they are."""


class Redirected(Exception):
    """The response is a redirect.

    Attributes:
        status: HTTP status of the response.
    """

    def __init__(self, status: int) -> None:
        super().__init__("the answer is a redirect, which is not followed")
        self.status = status


async def reject_redirects(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request, as a middleware of a session whose owner does not set `allow_redirects`.

    Raises:
        Redirected: aiohttp would follow the response.
    """
    response = await send(request)
    if response.status not in _FOLLOWED:
        return response
    response.close()
    raise Redirected(response.status)
