"""The scenarios, by what they are about; `ALL` is what can be run."""

from mistral_dev.gpu.scenarios import deaths, fitting, ladder, memory, ranks, serving, throughput

ALL = (
    *serving.SCENARIOS,
    *ranks.SCENARIOS,
    *throughput.SCENARIOS,
    *memory.SCENARIOS,
    *deaths.SCENARIOS,
    *ladder.SCENARIOS,
    *fitting.SCENARIOS,
)
