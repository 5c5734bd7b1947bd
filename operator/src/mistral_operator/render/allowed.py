"""What the installation has to allow, since the API server cannot know it. Pure."""

from collections.abc import Iterable, Iterator

from mistral_operator.api.environment import CA_VARIABLES
from mistral_operator.api.pod import Pod, PodDefaults
from mistral_operator.api.spec import Spec
from mistral_operator.api.variables import is_usual
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render.context import RenderContext

PUBLIC_HUB = "https://huggingface.co"
"""The hub that is always allowed: it is the default."""


def check_allowed(spec: Spec, context: RenderContext) -> None:
    """Check that a resource sends nothing to where its installation does not.

    Raises:
        InvalidResource: it does; the message says what to do.
    """
    check_without_lists(spec, context)
    for check in _BY_LISTS:
        check(spec, context)


def check_without_lists(spec: Spec, context: RenderContext) -> None:
    """Check what no list of an installation can allow.

    Raises:
        InvalidResource: it does not hold; the message says what to do.
    """
    _check_authorities(spec)
    _check_files(spec.pod, context.pods)


def not_allowed(spec: Spec, context: RenderContext) -> Iterator[InvalidResource]:
    """Yield what the lists of an installation do not allow, each with what to do."""
    for check in _BY_LISTS:
        try:
            check(spec, context)
        except InvalidResource as problem:
            yield problem


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


def _check_variables(spec: Spec, context: RenderContext) -> None:
    for index, variable in enumerate(spec.pod.env):
        if not is_usual(variable.name) and variable.name not in context.variables:
            raise InvalidResource(
                f"spec.pod.env[{index}].name",
                f"this installation does not allow the variable {variable.name}: remove it, or ask"
                " the administrator to add it to the chart value allowedVariables",
            )


def _check_authorities(spec: Spec) -> None:
    """Check that a token goes to no server that only the resource trusts.

    The name of a hub can lead elsewhere, by a proxy or a name server of the resource. What keeps
    the token from there is the server's certificate.
    """
    hub = spec.model.source.hub
    names = [one.name for one in spec.pod.env if one.name in CA_VARIABLES]
    if hub is None or hub.token_secret is None or not names:
        return
    raise InvalidResource(
        "spec.pod.env",
        f"{names[0]} chooses which servers get the hub's token: remove tokenSecret, or have the"
        " administrator set the variable in the chart value endpoints.pod.env",
    )


def _check_files(pod: Pod, defaults: PodDefaults) -> None:
    """Check that a resource leaves the files of its installation as they are.

    They may be the certificate authorities that protect a token. And a volume that only happens to
    have the same name would take them from the fetch.
    """
    names = {one.name for one in defaults.volumes}
    for index, volume in enumerate(pod.volumes):
        if volume.name in names:
            raise InvalidResource(
                f"spec.pod.volumes[{index}].name",
                f"{volume.name} is the name of a volume of this installation (chart value"
                " endpoints.pod): choose another",
            )
    paths = _paths(defaults)
    for index, mount in enumerate(pod.volume_mounts):
        path = next((one for one in paths if _overlap(one, mount.mount_path)), None)
        if path is not None:
            raise InvalidResource(
                f"spec.pod.volumeMounts[{index}].mountPath",
                f"{mount.mount_path} would replace files of this installation, which are at {path}"
                " (chart value endpoints.pod): choose another directory",
            )


def _paths(defaults: PodDefaults) -> list[str]:
    """Return where an installation has files: its mounts, and what its variables trust."""
    trusted = [one.value for one in defaults.env if one.name in CA_VARIABLES and one.value]
    # SSL_CERT_DIR may list several directories.
    files = [path.rstrip("/") for value in trusted for path in value.split(":") if path]
    return [*(one.mount_path for one in defaults.volume_mounts), *files]


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _check_service_account(spec: Spec, context: RenderContext) -> None:
    name = spec.pod.service_account_name
    if name is not None and name not in context.service_accounts:
        raise InvalidResource(
            "spec.pod.serviceAccountName",
            f"this installation does not allow pods to run as {name}: remove it, or ask"
            " the administrator to add it to the chart value allowedServiceAccounts",
        )


def _check_service_type(spec: Spec, context: RenderContext) -> None:
    kind = spec.service.type
    if kind not in ("ClusterIP", *context.service_types):
        raise InvalidResource(
            "spec.service.type",
            f"this installation does not allow Services of the type {kind}: remove it, or ask the"
            " administrator to add it to the chart value allowedServiceTypes",
        )


def _is_in(url: str, allowed: Iterable[str]) -> bool:
    return url.rstrip("/") in {one.rstrip("/") for one in allowed}


_BY_LISTS = (
    _check_hub,
    _check_prometheus,
    _check_variables,
    _check_service_account,
    _check_service_type,
)
"""What the lists of an installation allow."""
