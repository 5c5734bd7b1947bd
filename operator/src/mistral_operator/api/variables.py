"""Which environment variables `spec.pod.env` sets: some never, and of the others only known ones.

No list of what loads code is complete: each library of the server reads variables of its own. So a
resource sets what is known to be harmless, and what its installation adds (`allowedVariables`).
"""

import re

TUNING = (
    "VLLM_ATTENTION_BACKEND",
    "VLLM_ENGINE_ITERATION_TIMEOUT_S",
    "VLLM_FLASH_ATTN_VERSION",
    "VLLM_IMAGE_FETCH_TIMEOUT",
    "VLLM_USE_FLASHINFER_SAMPLER",
)
"""Variables of vLLM that only tune. Others load code, open paths or change what is logged."""

_RESERVED = (
    # The operator's and the server's own; where models, caches, metrics and temporary files are.
    r"MISTRAL_.*|PROMETHEUS_.*|HOME|USER|LOGNAME|TMP|TEMP|TMPDIR|XDG_.*|KUBERNETES_.*",
    # The hub, its token, and whether it is used at all.
    r"HF_(TOKEN.*|ENDPOINT|HOME|DEBUG|HUB_OFFLINE|INFERENCE_.*|STORED_.*|.*CACHE)",
    r"HUGGING_?FACE_.*|TRANSFORMERS_.*",
    # Code that is loaded into the server, or written by it, and TLS keys in a file.
    r"LD_.*|PYTHON.*|PATH|ENV|BASH_ENV|GCONV_PATH|LOCPATH|GLIBC_.*|OPENSSL_.*|SSLKEYLOGFILE",
    r"TORCH.*|TRITON_.*|FLASHINFER_.*|CUDA_.*|NCCL_.*(PLUGIN|CONF_FILE).*",
    r".*_INJECTION(32|64)_PATH|INTEL_.*|OMP_TOOL.*|(RDMAV|IBV)_DRIVERS|UCX_MODULE.*",
    r".*_CACHE_(DIR|PATH)|TVM_.*|TILELANG_.*|CUTE_.*|DG_.*",
    # What compilers run and read: Triton and others call them.
    r"CC|CXX|CPP|NVCC|.*FLAGS|GCC_.*|COMPILER_PATH|LIBRARY_PATH|CPATH|.*INCLUDE_PATH",
    # All GPUs of the node, and where the ranks of a replica listen.
    r"NVIDIA_.*|GLOO_.*|NCCL_((SOCKET|OOB)_.*|COMM_ID)",
    r"MASTER_.*|RANK|LOCAL_RANK|WORLD_SIZE|RAY_.*",
)
RESERVED = f"^({'|'.join(_RESERVED)})$"
"""Names that can never be set."""

_USUAL = (
    # Proxies and certificate authorities. Clients read proxies in both spellings.
    r"(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy",
    r"SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE",
    r"TZ|LANG|LANGUAGE|LC_[A-Z]+",
    # What fields of the pod are called by those who read them.
    r"(HOST|NODE|POD)_(IP|NAME|NAMESPACE|UID)",
    # NCCL, but for what it loads, writes and listens at.
    r"NCCL_DEBUG(_SUBSYS)?|NCCL_(IB|P2P|SHM|CUMEM|NVLS|NET_GDR|LAUNCH)_[A-Z0-9_]+",
    r"NCCL_(ALGO|PROTO|BUFFSIZE|NTHREADS|(MIN|MAX)_(NCHANNELS|CTAS)|CROSS_NIC)",
    r"NCCL_(TOPO|GRAPH)_FILE",
    # Threads and memory.
    r"(OMP|MKL|OPENBLAS|RAYON)_NUM_THREADS|OMP_(PROC_BIND|PLACES|WAIT_POLICY|DYNAMIC)",
    r"KMP_(AFFINITY|BLOCKTIME)|TOKENIZERS_PARALLELISM|PYTORCH_(CUDA_)?ALLOC_CONF",
    r"MALLOC_(ARENA_MAX|MMAP_MAX_|(MMAP|TRIM)_THRESHOLD_|TOP_PAD_)",
    # The client of the hub.
    r"HF_HUB_([A-Z]+_TIMEOUT|DISABLE_(XET|PROGRESS_BARS|TELEMETRY))",
    r"HF_XET_(HIGH_PERFORMANCE|NUM_CONCURRENT_RANGE_GETS|RECONSTRUCT_WRITE_SEQUENTIALLY)",
    # Identities of clouds. AWS_CONFIG_FILE, for one, can name a command.
    r"AWS_((DEFAULT_)?REGION|ROLE_ARN|WEB_IDENTITY_TOKEN_FILE|STS_REGIONAL_ENDPOINTS)",
    r"AZURE_(CLIENT_ID|TENANT_ID|AUTHORITY_HOST|FEDERATED_TOKEN_FILE)|GOOGLE_CLOUD_PROJECT",
    # Telemetry, where something injects it.
    r"OTEL_(SERVICE_NAME|RESOURCE_ATTRIBUTES|SDK_DISABLED|TRACES_SAMPLER(_ARG)?)",
    r"OTEL_EXPORTER_OTLP_[A-Z_]+|DD_(AGENT_HOST|API_KEY|ENTITY_ID|ENV|SERVICE|SITE|TAGS|VERSION)",
    "|".join(TUNING),
)
_USUAL_NAME = re.compile("|".join(_USUAL))


def is_reserved(name: str) -> bool:
    """Tell whether a variable can never be set, not even by an installation."""
    of_vllm = name.startswith("VLLM_") and name not in TUNING
    return re.fullmatch(RESERVED, name) is not None or of_vllm


def is_usual(name: str) -> bool:
    """Tell whether every resource may set a variable."""
    return _USUAL_NAME.fullmatch(name) is not None and not is_reserved(name)
