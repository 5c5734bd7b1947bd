"""The engine's context length, queried from the engine: with `auto` only it has the value."""

from mistral_server.gate.asgi import Scope
from mistral_server.gate.models import Models


class ContextWindow:
    """Tokens of prompt and response together.

    Args:
        models: of the application behind the gate.
        configured: the context length in the settings, if set.
    """

    def __init__(self, models: Models, configured: int | None) -> None:
        self._models = models
        self._tokens = configured

    async def tokens(self, scope: Scope) -> int | None:
        """Return the context length, or None if the application does not report it.

        Args:
            scope: of the current request.
        """
        if self._tokens is None:
            self._tokens = await self._models.context_length(scope)
        return self._tokens
