"""The scenarios, by what they are about; `ALL` is what can be run."""

from mistral_dev.gpu.scenarios import (
    compile_cache,
    fitting,
    kills,
    ladder,
    memory,
    ranks,
    serving,
    speedups,
    throughput,
    weights,
)

ALL = (
    *serving.SCENARIOS,
    *ranks.SCENARIOS,
    *throughput.SCENARIOS,
    *compile_cache.SCENARIOS,
    *memory.SCENARIOS,
    *kills.SCENARIOS,
    *ladder.SCENARIOS,
    *fitting.SCENARIOS,
    *speedups.SCENARIOS,
    *weights.SCENARIOS,
)
