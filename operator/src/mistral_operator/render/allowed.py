"""What the installation has to allow, since the API server cannot know it. Pure."""

from collections.abc import Iterable

from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render.context import RenderContext

PUBLIC_HUB = "https://huggingface.co"
"""The hub that is always allowed: it is the default."""


def check_allowed(spec: Spec, context: RenderContext) -> None:
    """Check that a resource sends nothing to where its installation does not.

    Raises:
        InvalidResource: it does; the message says what to do.
    """
    _check_hub(spec, context)
    _check_prometheus(spec, context)


def _check_hub(spec: Spec, context: RenderContext) -> None:
    hub = spec.model.source.hub
    if hub is None or hub.token_secret is None or hub.endpoint is None:
        return
    # A token is the value of any Secret in the namespace, which its user may not be able to read.
    allowed = (PUBLIC_HUB, *context.hub_endpoints)
    if not _is_in(hub.endpoint, allowed):
        raise InvalidResource(
            "spec.model.source.hub.endpoint",
            f"this installation sends tokens only to {', '.join(allowed)}: remove tokenSecret, or"
            f" ask its administrator to add {hub.endpoint} to the chart value allowedHubEndpoints",
        )


def _check_prometheus(spec: Spec, context: RenderContext) -> None:
    keda = spec.autoscaling.keda if spec.autoscaling is not None else None
    if keda is None or keda.prometheus is None or _is_in(keda.prometheus, context.prometheus_urls):
        return
    # KEDA runs in another namespace, from where it may reach what the user cannot.
    raise InvalidResource(
        "spec.autoscaling.keda.prometheus",
        "this installation does not allow KEDA to query this URL: remove it, so that KEDA queries"
        f" the operator, or ask the administrator to add {keda.prometheus} to the chart value"
        " allowedPrometheusUrls",
    )


def _is_in(url: str, allowed: Iterable[str]) -> bool:
    return url.rstrip("/") in {one.rstrip("/") for one in allowed}
