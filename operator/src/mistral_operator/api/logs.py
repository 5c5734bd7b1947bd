"""`spec.logs`: what the pods of an endpoint log."""

from typing import Literal

from mistral_operator.api.base import ApiModel


class Logs(ApiModel):
    """Logs of the pods. A change restarts them."""

    requests: bool | None = None
    """Write a line of JSON for each request: time, name of the client, path, status, duration,
    tokens, loops and outcome of tool calls, but no content. Unset: as the chart value
    `endpoints.logs.requests` says, by default true."""
    format: Literal["Text", "JSON"] | None = None
    """Format of all lines, those of vLLM included, with date and zone. Unset: as the chart value
    `endpoints.logs.format` says, by default each program's own format."""

    def over(self, defaults: "Logs") -> "Logs":
        """Return these, with defaults for what is unset."""
        return Logs(
            requests=defaults.requests if self.requests is None else self.requests,
            format=defaults.format if self.format is None else self.format,
        )
