"""What the installation has to allow of pods, and which of its files stay as they are."""

import pytest

from builders import CONTEXT, SERVER_IMAGE
from customized_pods import BELIEVED, BUNDLE, MOUNT, Object, rendered
from mistral_operator.api import parse_spec
from mistral_operator.api.pod import PodDefaults
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import RenderContext
from mistral_operator.render.allowed import check_allowed

NOT_ALLOWED: dict[str, tuple[Object, str]] = {
    "an account": (
        {"pod": {"serviceAccountName": "admin"}},
        "add it to the chart value allowedServiceAccounts",
    ),
    "a type": (
        {"service": {"type": "LoadBalancer"}},
        "add it to the chart value allowedServiceTypes",
    ),
    "authorities for a token": (
        {
            "pod": {"env": [BELIEVED]},
            "model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}},
        },
        "in the chart value endpoints.pod.env",
    ),
}


@pytest.mark.parametrize(("spec", "sentence"), NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_what_the_installation_has_to_allow(spec: Object, sentence: str) -> None:
    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(spec), CONTEXT)

    assert sentence in str(refused.value)


def test_what_the_installation_allows() -> None:
    context = RenderContext(
        "server:1",
        service_accounts=("admin",),
        service_types=("LoadBalancer",),
        variables=("TEAM",),
    )
    spec = {
        "pod": {"serviceAccountName": "admin", "env": [{"name": "TEAM", "value": "a"}]},
        "service": {"type": "LoadBalancer"},
    }

    check_allowed(parse_spec(spec), context)
    check_allowed(parse_spec({"pod": {"env": [BELIEVED]}}), context)


def test_a_token_may_use_the_authorities_of_the_installation() -> None:
    context = RenderContext(
        "server:1",
        pods=PodDefaults.model_validate(
            {"env": [BELIEVED], "volumes": [BUNDLE], "volumeMounts": [MOUNT]}
        ),
    )
    spec = {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}}

    check_allowed(parse_spec(spec), context)
    names = [
        one["name"]
        for one in rendered(spec, context)["Deployment"]["spec"]["template"]["spec"][
            "initContainers"
        ][0]["env"]
    ]
    assert {"SSL_CERT_FILE", "HF_TOKEN"} <= {*names}


MINE: Object = {"name": "mine", "configMap": {"name": "mine"}}
REPLACED: dict[str, tuple[Object, str]] = {
    "a volume": (
        {"volumes": [{"name": "ca", "configMap": {"name": "mine"}}]},
        "spec.pod.volumes[0].name: ca is the name of a volume of this installation",
    ),
    **{
        path: (
            {"volumes": [MINE], "volumeMounts": [{"name": "mine", "mountPath": path}]},
            f"spec.pod.volumeMounts[0].mountPath: {path} would replace files of this installation",
        )
        for path in ("/mnt/ca", "/mnt/ca/ca.crt", "/mnt/ca/more", "/srv/image", "/srv/image/cas")
    },
}
TRUSTED: Object = {
    # The image may have the file: then no volume is mounted there.
    "env": [BELIEVED, {"name": "SSL_CERT_DIR", "value": "/srv/other:/srv/image/cas"}],
    "volumes": [BUNDLE],
    "volumeMounts": [MOUNT],
}


@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize(("pod", "sentence"), REPLACED.values(), ids=REPLACED)
def test_a_resource_replaces_no_files_of_the_installation(
    pod: Object, sentence: str, token: bool
) -> None:
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(TRUSTED))
    hub: Object = {"hub": {"tokenSecret": {"name": "hub"}}}
    spec = {"pod": pod} | ({"model": {"source": hub}} if token else {})

    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(spec), context)

    assert sentence in str(refused.value)


@pytest.mark.parametrize("path", ["/mnt/ca2", "/mnt/c", "/srv/image/more", "/data/ca"])
def test_a_resource_mounts_its_files_beside_those_of_the_installation(path: str) -> None:
    context = RenderContext(SERVER_IMAGE, pods=PodDefaults.model_validate(TRUSTED))
    pod = {"volumes": [MINE], "volumeMounts": [{"name": "mine", "mountPath": path}]}

    check_allowed(parse_spec({"pod": pod}), context)
