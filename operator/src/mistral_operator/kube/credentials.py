"""How the client reaches the API server: service account or kubeconfig, certificates, proxy."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger
from yaml import YAMLError

from mistral_operator.kube.errors import CannotStart
from mistral_operator.kube.impersonation import Headers, impersonation_headers

_UNUSABLE = (ConfigException, OSError, YAMLError, ValueError, TypeError, AttributeError)
"""Errors of the loader; a file of other content ends in a TypeError or an AttributeError."""

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def load_configuration(
    connections: int, kubeconfig: str | None, context: str | None = None
) -> Configuration:
    """Return the configuration of a client; see `Cluster.connect`.

    Raises:
        CannotStart: there are no usable credentials.
    """
    configuration = Configuration()
    headers: Headers = []
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        _load_service_account(configuration)
    else:
        headers = await _load_kubeconfig(configuration, kubeconfig, context)
    configuration.connection_pool_maxsize = connections
    # By default the transport reads ~/.netrc and the proxy in threads for each request.
    configuration.client_session_kwargs = {"trust_env": False, "headers": headers}
    configuration.proxy = configuration.proxy or proxy_of_environment(configuration.host)
    return configuration


def _load_service_account(configuration: Configuration) -> None:
    try:
        load_incluster_config(client_configuration=configuration)
    except _UNUSABLE as error:
        raise CannotStart(
            f"the service account of the pod cannot be used: {_line(error)}; set"
            " automountServiceAccountToken to true"
        ) from error


def kubeconfig_of_user(option: str | None) -> str | None:
    """Return the paths of the kubeconfig that kubectl would use, None where it has none.

    A pod has none, and its service account is used.
    """
    paths = option or os.environ.get("KUBECONFIG") or "~/.kube/config"
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    return None if in_pod and option is None and not _exists(paths) else paths


def namespace_of_context(kubeconfig: str | None, context: str | None) -> str:
    """Return the namespace of a context, as kubectl does where no option names one.

    Raises:
        CannotStart: the kubeconfig cannot be read, or it has no such context.
    """
    if kubeconfig is None:
        return _namespace_of_pod()
    if not _exists(kubeconfig):
        raise CannotStart(f"the kubeconfig {kubeconfig} does not exist: set KUBECONFIG to one")
    try:
        config = KubeConfigMerger(kubeconfig).config
        chosen = KubeConfigLoader(config_dict=config, active_context=context).current_context
        return str(chosen["context"].get("namespace") or "default")
    except _UNUSABLE as error:
        raise CannotStart(f"the kubeconfig {kubeconfig} cannot be used: {_line(error)}") from error


def _namespace_of_pod() -> str:
    try:
        return _POD_NAMESPACE.read_text().strip()
    except OSError:
        return "default"


async def _load_kubeconfig(
    configuration: Configuration, kubeconfig: str | None, context: str | None
) -> Headers:
    """Load a kubeconfig, and return headers that all requests of its user have."""
    paths = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not _exists(paths):
        raise CannotStart(
            f"the kubeconfig {paths} does not exist: set KUBECONFIG to the path of one, or start"
            " this process in a pod"
        )
    try:
        config = KubeConfigMerger(paths).config
        loader = KubeConfigLoader(config_dict=config, active_context=context, config_base_path=None)
        with _errors_of_loader() as errors:
            await loader.load_and_set(configuration)
        # The loader logs that a program gives no credentials, and goes on without any.
        if errors and not configuration.api_key:
            raise ConfigException("; ".join(errors))
        if loader.provider and not configuration.api_key:
            raise ConfigException(f"auth-provider {loader.provider} is not supported")
        name = loader.current_context["context"].get("user")
        user = config["users"].get_with_name(name, safe=True) if name else None
        return impersonation_headers(user["user"].value) if user else []
    except _UNUSABLE as error:
        raise CannotStart(
            f"the kubeconfig {paths} cannot be used: {_line(error)}; set KUBECONFIG to the path of"
            " another one"
        ) from error


@contextmanager
def _errors_of_loader() -> Iterator[list[str]]:
    """Collect the errors that the loader logs; it raises none of a credential plugin."""
    errors = list[str]()
    log = logging.getLogger(KubeConfigLoader.__module__)

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return False

    log.addFilter(keep)
    try:
        yield errors
    finally:
        log.removeFilter(keep)


def _exists(paths: str) -> bool:
    return any(Path(one).expanduser().exists() for one in paths.split(os.pathsep) if one)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def proxy_of_environment(host: str) -> str | None:
    """Return the proxy of a host from HTTPS_PROXY and NO_PROXY, as kubectl does."""
    url = urlsplit(host)
    return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)
