"""What the gate of a server has counted, read from its metrics."""

import re
from collections import Counter

from prometheus_server import Prometheus

_SAMPLE = re.compile(r"^mistral_(\w+?)(\{.*\})? (\S+)$", re.MULTILINE)
_KINDS = ("generation", "tool_", "gate_errors")


def gate_counts(exposition: str) -> Counter[str]:
    """Return the gate's counters in a text of metrics, but those of what it changed."""
    counts: Counter[str] = Counter()
    for name, labels, value in _SAMPLE.findall(exposition):
        if name.startswith(_KINDS) and not name.endswith("_created"):
            counts[name + labels.replace('"', "")] += int(float(value))
    return +counts


def counts_in(prometheus: Prometheus) -> Counter[str]:
    """Return the same counters as a Prometheus has them."""
    counts: Counter[str] = Counter()
    for sample in prometheus.query('{__name__=~"mistral_.*_total"}'):
        labels = dict(sample["metric"])
        name = labels.pop("__name__").removeprefix("mistral_")
        own = {key: value for key, value in labels.items() if key not in {"job", "instance"}}
        shown = ",".join(f"{key}={value}" for key, value in sorted(own.items()))
        if name.startswith(_KINDS):
            counts[name + (f"{{{shown}}}" if shown else "")] += int(float(sample["value"][1]))
    return +counts
