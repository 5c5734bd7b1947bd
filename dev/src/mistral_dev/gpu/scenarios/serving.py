"""One server of a resource with one GPU, and all kinds of requests."""

from mistral_dev.gpu.rig import Plan, Rig
from mistral_dev.gpu.scenario import Scenario
from mistral_dev.gpu.scenarios.answers import CHAT, IMAGES, STREAM
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.drain import DRAIN
from mistral_dev.gpu.scenarios.gate_cost import GATE_COST
from mistral_dev.gpu.scenarios.loops import COUNTS, LOOPS
from mistral_dev.gpu.scenarios.tools import TOOLS


def _defaults(rig: Rig) -> tuple[Plan, ...]:
    return (rig.plan("serving", eager=False),)


SCENARIOS = (
    Scenario(
        "serving",
        priority=10,
        seconds=330,
        plans=_defaults,
        # The counts precede the load, whose requests are not counted by the client.
        steps=(BOOT, CHAT, STREAM, TOOLS, LOOPS, IMAGES, COUNTS, GATE_COST, DRAIN),
        held=False,
        on_cpu=True,
    ),
)
