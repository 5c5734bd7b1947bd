"""The patterns of fields, each with an example for messages.

Each can be read by the API server (RE2), pydantic (Rust) and Python, without lookaround.
"""

QUANTITY = r"^[0-9]+(\.[0-9]+)?([eE]\+?[0-9]{1,2}|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"
"""A Kubernetes quantity, without sign and negative exponent."""

NUMBER_AND_UNIT = r"^[0-9]+(\.[0-9]+)?([eE]\+?[0-9]{1,2}|[A-Za-z]*)$"
"""A number and any unit. The API server checks the unit apart, with a message."""

QUANTITY_MESSAGE = "write it as a quoted quantity, such as 40Gi or 40G"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

OBJECT_NAME = f"^{_SUBDOMAIN}$"
"""The name of an object of Kubernetes: a DNS subdomain, never a path."""

DATA_KEY = r"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$"
"""A key of a Secret or ConfigMap. It is also a file name, so never `.`, `..` or a path."""

_QUALIFIED = rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?"
"""How long the prefix is cannot be said here: `api/base.py` has a rule for it."""

LABEL_KEY = f"^{_QUALIFIED}$"
"""A key of a label of Kubernetes."""

TAINT_KEY = f"^({_QUALIFIED})?$"
"""A key of a taint, or nothing for every taint."""

LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"
"""A value of a label or taint of Kubernetes."""

IMAGE = (
    r"^[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@[A-Za-z0-9]+:[0-9a-fA-F]+)?$"
)
"""A reference to an image."""

_PARTS = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
"""Parts between slashes. None starts with a dot, so a path cannot leave its root."""

RELATIVE_PATH = f"^({_PARTS})?$"
"""A path below a mount."""

REVISION = f"^{_PARTS}$"
"""A commit, tag or branch."""

REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
"""A repository of the hub."""

MODEL_NAME = r"^/?[A-Za-z0-9_][A-Za-z0-9._:-]*(/[A-Za-z0-9_][A-Za-z0-9._:-]*)*$"
"""A name that clients send."""

_HOST = rf"({_LABEL}\.)*[a-z]([-a-z0-9]*[a-z0-9])?"
"""The name of a host in lower case. Its last label begins with a letter, so it is not an address in
any notation."""

_OCTET = r"(0|[1-9][0-9]{0,2})"

_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"
_URL_PATH = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?"

URL = rf"^https?://({_HOST}|{_ADDRESS})(:[0-9]{{1,5}})?{_URL_PATH}$"
"""A URL of HTTP with a host name or IPv4 address, and without credentials, query and `..`."""

ORIGIN = rf"^https?://({_HOST}|{_ADDRESS})(:[0-9]{{1,5}})?$"
"""The origin of a web page, as a browser sends it: scheme, host and port, without a path."""

HOST = f"^{_HOST}$"
"""The name of a host."""

API_PATH = r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+(/|/\*)?$"
"""A path of vLLM's server, or all paths below one."""

EXTENDED_RESOURCE = rf"^{_SUBDOMAIN}/[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?$"
"""An extended resource of Kubernetes."""

CIDR = r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"
"""An address range; whether the numbers fit is checked apart."""

ADDRESS = r"^[0-9A-Fa-f:.]+$"
"""An address; whether the numbers fit is checked apart."""

VOLUME_NAME = f"^{_LABEL}$"
"""The name of a volume of a pod."""

MOUNT_PATH = rf"^/(mnt|data|srv)/{_PARTS}$"
"""Where volumes of users are mounted: below directories in which the image has nothing."""

VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""The name of an environment variable."""

LINE = r"^[ -~]*$"
"""One line of printable ASCII."""

EXAMPLES = {
    QUANTITY: "1Gi",
    OBJECT_NAME: "my-object",
    DATA_KEY: "token or SYSTEM_PROMPT.txt",
    LABEL_KEY: "topology.kubernetes.io/zone",
    TAINT_KEY: "nvidia.com/gpu",
    LABEL_VALUE: "zone-a",
    IMAGE: "registry.example.com/server:1.0",
    RELATIVE_PATH: "models/small",
    REVISION: "main",
    REPOSITORY: "owner/name",
    MODEL_NAME: "mistral-small",
    URL: "https://hub.example.com",
    ORIGIN: "https://chat.example.com",
    HOST: "images.example.com",
    API_PATH: "/score or /v1/*",
    CIDR: "10.20.0.0/16",
    EXTENDED_RESOURCE: "nvidia.com/gpu",
    ADDRESS: "10.20.0.8",
    VOLUME_NAME: "ca-bundle",
    MOUNT_PATH: "/mnt/ca-bundle or /data/files or /srv/files",
    VARIABLE_NAME: "HTTPS_PROXY",
    LINE: "http://proxy.example.com:3128",
}
"""Examples by pattern."""

_NAME_PART = "with at most 63 characters after the slash"

_REMARKS = {
    LABEL_KEY: _NAME_PART,
    TAINT_KEY: _NAME_PART,
    EXTENDED_RESOURCE: _NAME_PART,
    RELATIVE_PATH: "relative to the root of the volume",
    REPOSITORY: "not a URL",
    HOST: "a host name without scheme, port and path",
    URL: "with http:// or https:// and without credentials",
    IMAGE: "without spaces",
    LINE: "in one line of printable ASCII",
    CIDR: "or 10.20.0.8/32 for one address",
}
"""What to know beside the example, by pattern."""


def message(pattern: str) -> str:
    """Return what to write for a value that does not match."""
    remark = f", {_REMARKS[pattern]}" if pattern in _REMARKS else ""
    return f"not valid: write a value such as {EXAMPLES[pattern]}{remark}"


_LOCAL_NAMES = (
    r"([a-z0-9-]+\.)*localhost[46]?(\.localdomain[46]?)?|localdomain|ip6-(localhost|loopback)"
    r"|host\.(docker|containers|minikube|lima|k3d)\.internal"
    r"|kubernetes(\.default(\.svc(\.[a-z0-9.-]+)?)?)?"
    r"|instance-data(\.ec2\.internal)?"
    r"|metadata(\.(google\.internal|goog|azure\.internal|tencentyun\.com|packet\.net))?"
)
_LOCAL_ADDRESSES = (
    # Loopback, link-local, multicast and broadcast, and the metadata services of clouds.
    r"(0|127|22[4-9]|23[0-9]|24[0-9]|25[0-5])\.[0-9.]+"
    r"|169\.254\.[0-9.]+|168\.63\.129\.16|192\.0\.0\.192|100\.100\.100\.200"
)

LOCAL_HOST = f"^({_LOCAL_NAMES})$"
"""Names of a node itself, of the API server, and of services with the credentials of a node."""

LOCAL_URL = f"^https?://({_LOCAL_NAMES}|{_LOCAL_ADDRESSES})([:/].*)?$"
"""URLs at such a name, or at an address that is not that of another host."""
