"""A registry of prometheus_client with the metrics of one module."""

from types import ModuleType

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase


def registry_of(module: ModuleType) -> CollectorRegistry:
    """Return a registry with the metrics of one module."""
    registry = CollectorRegistry()
    for collector in vars(module).values():
        if isinstance(collector, MetricWrapperBase):
            registry.register(collector)
    return registry
