"""The patterns of fields, each with an example for messages."""

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"
"""A Kubernetes quantity, without sign and exponent."""

_PARTS = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"
"""Parts between slashes. None starts with a dot, so a path cannot leave its root."""

RELATIVE_PATH = f"^({_PARTS})?$"
"""A path below a mount."""

REVISION = f"^{_PARTS}$"
"""A commit, tag or branch."""

REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"
"""A repository of the hub."""

MODEL_NAME = r"^[A-Za-z0-9._/:-]+$"
"""A name that clients send."""

URL = r"^https?://[^\s]+$"
"""A URL of HTTP."""

HOST = r"^[A-Za-z0-9.-]+$"
"""The name of a host."""

API_PATH = r"^/[A-Za-z0-9._/-]*(/\*)?$"
"""A path of vLLM's server, or all paths below one."""

EXTENDED_RESOURCE = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
"""An extended resource of Kubernetes."""

CIDR = r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"
"""An address range; whether the numbers fit is checked apart."""

EXAMPLES = {
    QUANTITY: "1Gi",
    RELATIVE_PATH: "models/small",
    REVISION: "main",
    REPOSITORY: "owner/name",
    MODEL_NAME: "mistral-small",
    URL: "https://hub.example.com",
    HOST: "images.example.com",
    API_PATH: "/score or /v1/*",
    CIDR: "10.20.0.0/16",
    EXTENDED_RESOURCE: "nvidia.com/gpu",
}
"""Examples by pattern."""
