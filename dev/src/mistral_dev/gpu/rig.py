"""The machine of the scenarios: GPUs with the full-size model, or CPUs with the tiny one.

A scenario describes its server with the fields of a resource, and runs with the settings that the
operator renders from them. Only paths, ports and addresses are this machine's.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mistral_dev.settings import free_ports
from mistral_operator.api import parse_spec
from mistral_operator.api.spec import Spec
from mistral_operator.render.server_settings import server_settings
from mistral_server.contract import ServerSettings

SAFE = {
    # Programs that use multicast over NVLink can put GPUs that others share out of service.
    "NCCL_NVLS_ENABLE": "0",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST": "1",
    "NVSHMEM_DISABLE_NVLS": "1",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",  # tries torch's multicast first
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts
    # A virtual machine without a network: ranks connect on loopback.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
    # An engine unpacked from pieces uses the machine's cuDNN: 9.19 there, and torch
    # refuses to start below the minor version that it was built with, 9.20. 9.19 computes right.
    "PYTORCH_SKIP_CUDNN_COMPATIBILITY_CHECK": "1",
    # flashinfer and DeepGEMM are not packed, and the sampler uses flashinfer by default.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_USE_DEEP_GEMM": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}
"""Variables of every process that is started here."""


_H100_MIB = 81_559


@dataclass(frozen=True)
class Streams:
    """What the scenario `throughput` sends at one number of streams, on each way."""

    at_once: int
    patched: int
    """Requests of a round, to the server with the engine's workarounds."""
    stock: int
    """Requests of a round, to the engine as it comes."""
    stock_rounds: int = 1
    stock_past_gate: bool = False
    """Whether they are sent past the gate, too."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the requests."""

    images: int = 10
    image_side: int = 1540
    image_tokens: int = 30_800
    """Tokens of that many images of that size."""
    loop_tokens: int = 1000
    loops_at_once: int = 8
    closing_brace: str = "1125"
    """Token of a closing brace: control tokens come before text."""
    load: tuple[tuple[int, int], ...] = ((1, 4), (16, 32), (64, 128))
    """Requests at the same time, and requests of each round."""
    load_rounds: int = 2
    load_words: int = 250
    """Words of a prompt, each a token; the template makes them 256."""
    load_tokens: int = 128
    streams: Mapping[int, Streams] = field(
        default_factory=lambda: {
            1: Streams(1, patched=3, stock=2, stock_rounds=2),
            16: Streams(16, patched=32, stock=16, stock_rounds=2),
            64: Streams(64, patched=128, stock=64, stock_past_gate=True),
            256: Streams(256, patched=256, stock=256),
        }
    )
    """By the number that they stand for; a small machine sends fewer. The engine as it comes takes
    2.6 chats a second: what it gets in up to 64 streams keeps it busy for 70 s, the 256 for 100."""
    profile_seconds: int = 8
    profile_requests: int = 320
    """In as many streams as `throughput` has with 64: 15 s on an H200."""
    stream_tokens: int = 256
    drain_tokens: int = 400
    """Of a stream that takes several seconds."""
    fill_tokens: int = 30_000
    """Tokens of a prompt that needs much memory to compute."""


TINY = Scale(
    images=2,
    image_side=280,
    image_tokens=220,
    loop_tokens=900,
    loops_at_once=2,
    load=((1, 2), (4, 4)),
    load_rounds=1,
    load_words=20,
    load_tokens=16,
    streams={
        1: Streams(1, patched=1, stock=1),
        16: Streams(2, patched=2, stock=2),
        64: Streams(4, patched=4, stock=4, stock_past_gate=True),
        256: Streams(6, patched=6, stock=6),
    },
    profile_seconds=3,
    profile_requests=800,
    stream_tokens=32,
    drain_tokens=1500,
)
"""For the tiny checkpoint on two cores."""


@dataclass(frozen=True)
class Plan:
    """One server to be started."""

    name: str
    spec: Spec
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the contract's engine settings that no resource may have."""
    environment: Mapping[str, str] = field(default_factory=dict)
    own_shm: bool = False
    """Give it a /dev/shm of the size that the pod would have."""
    weights: Path | None = None
    """A directory of a model with weights, which it reads instead of making random ones."""


@dataclass(frozen=True)
class Rig:
    """A machine.

    Args:
        device: what the engine computes on.
        gpus: indices of the GPUs; one pretended one where there are none.
        memory_mib: of one GPU, as nvidia-smi shows it.
        python: interpreter in whose environment vLLM is.
        packages: directories that come first on its PYTHONPATH.
        model: the model's directory.
        work: directory for logs and scratch files.
    """

    device: Literal["cuda", "cpu"]
    gpus: tuple[int, ...]
    memory_mib: int
    python: str
    packages: tuple[str, ...]
    model: str
    work: Path
    scale: Scale = field(default_factory=Scale)
    variables: Mapping[str, str] = field(default_factory=dict)

    def plan(self, name: str, eager: bool = True, **engine: Any) -> Plan:
        """Return a plan with these fields of ``spec.engine``; `eager` starts a minute sooner."""
        if self.device == "cpu":
            small = {"contextLength": 2048, "maxSequences": 8, "kvCache": {"memory": "64Mi"}}
            return Plan(name, self.spec(small | engine))
        extra = [*engine.pop("extraArgs", ()), *(["--enforce-eager"] if eager else [])]
        return Plan(name, self.spec({**engine, "extraArgs": extra}))

    def share(self, of_80_gb: float) -> float:
        """Return the share of this rig's GPUs that is as much memory as that of an H100 80GB."""
        return round(of_80_gb * _H100_MIB / self.memory_mib, 4) if self.memory_mib else of_80_gb

    def all_but(self, of_80_gb: float) -> float:
        """Return the share that leaves as much memory as that leaves on an H100 80GB."""
        return round(1 - self.share(1 - of_80_gb), 4)

    def spec(self, engine: Mapping[str, Any], **fields: Any) -> Spec:
        """Return a spec of this rig's model."""
        source = {"persistentVolumeClaim": {"claimName": "model"}}
        model = {"source": source, "randomWeights": self.device == "cuda"}
        return parse_spec(
            {
                "device": self.device,
                "model": model,
                "images": {"perPrompt": self.scale.images},
                "drainSeconds": 30,
                "startupSeconds": 600,
                "engine": {"tensorParallelSize": 1, **engine},
                **fields,
            }
        )

    def settings(self, plan: Plan) -> ServerSettings:
        """Return the settings that the operator renders, with paths and ports of this machine."""
        rendered = server_settings(plan.spec)
        model: dict[str, Any] = {"path": self.model}
        if plan.weights is not None:
            model = {"path": str(plan.weights), "random_weights": False}
        port, health_port = free_ports(2)
        return rendered.model_copy(
            update={
                "host": "127.0.0.1",
                "port": port,
                "health_port": health_port,
                "termination_log": str(self.work / f"{plan.name}.termination"),
                "model": rendered.model.model_copy(update=model),
                "engine": rendered.engine.model_copy(update=dict(plan.changes)),
                "lifecycle": rendered.lifecycle.model_copy(update={"endpoint_removal_seconds": 1}),
            }
        )

    def environment(self, plan: Plan, gpus: tuple[int, ...]) -> dict[str, str]:
        """Return the variables of a server on these GPUs."""
        kept = {name: value for name, value in os.environ.items() if name != "OUT"}
        path = [*self.packages, kept.get("PYTHONPATH", "")]
        visible = (
            {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if self.device == "cuda" else {}
        )
        return {
            **kept,
            **SAFE,
            **visible,
            **self.variables,
            **plan.environment,
            "PYTHONPATH": os.pathsep.join(part for part in path if part),
        }
