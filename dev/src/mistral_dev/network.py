"""The network of a node cluster: a namespace of its own, without any way out of the machine.

Used by `cluster` (make and remove) and `processes` (enter). The addresses are private to the
namespace, so every cluster has the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mistral_dev.commands import run, succeeds
from mistral_dev.errors import UsageError
from mistral_dev.paths import Layout

NODE_IP = "10.77.0.1"
POD_CIDR = "10.77.1.0/24"
SERVICE_CIDR = "10.77.32.0/19"
SERVICE_IP = "10.77.32.1"
"""First address of SERVICE_CIDR: the `kubernetes` service."""
FAKE_POD_CIDR = "10.77.64.1/18"
"""Addresses that kwok makes up for pods; nothing answers there."""

_BRIDGE = "node0br"


def namespace_path(netns: str) -> Path:
    """Return the file of a network namespace."""
    return Path("/run/netns") / netns


def enter(netns: str, argv: Sequence[str]) -> list[str]:
    """Return the command that runs `argv` in a namespace.

    Not `ip netns exec`: that mounts a new /sys, which hides the cgroups from kubelet and runc.
    """
    return ["nsenter", f"--net={namespace_path(netns)}", *argv]


def check_owner(netns: str, layout: Layout) -> None:
    """Check that a namespace, and with it the cluster, does not have another state directory.

    Raises:
        UsageError: the namespace belongs to another state directory.
    """
    if namespace_path(netns).exists() and not _marker(layout).exists():
        raise UsageError(
            f"The network namespace {netns} exists but does not belong to {layout.root}. "
            f"Take another --name, or remove a leftover with `ip netns delete {netns}`."
        )


def create(netns: str, layout: Layout) -> None:
    """Make the namespace with its node address, unless it is there."""
    if not namespace_path(netns).exists():
        # The marker comes first: a namespace without one would never be removed.
        _marker(layout).touch()
        run(["ip", "netns", "add", netns])
    run(enter(netns, ["ip", "link", "set", "lo", "up"]))
    if not succeeds(enter(netns, ["ip", "link", "show", _BRIDGE])):
        _add_node_address(netns)
    _allow_forwarding(netns)


def delete(netns: str, layout: Layout) -> None:
    """Remove the namespace if this cluster made it."""
    if _marker(layout).exists() and namespace_path(netns).exists():
        run(["ip", "netns", "delete", netns])
    _marker(layout).unlink(missing_ok=True)


def _marker(layout: Layout) -> Path:
    """Return the file that marks a namespace as created by the cluster."""
    return layout.run / "netns"


def _add_node_address(netns: str) -> None:
    """Give the node an address that is not loopback, which kubelet refuses.

    It sits on a bridge without ports, since not every kernel has dummy devices. The route is for
    connections to services from the node itself: with no default route they would fail at once.
    """
    for arguments in (
        ["link", "add", _BRIDGE, "type", "bridge"],
        ["addr", "add", f"{NODE_IP}/32", "dev", _BRIDGE],
        ["link", "set", _BRIDGE, "up"],
        ["route", "add", SERVICE_CIDR, "dev", _BRIDGE, "src", NODE_IP],
    ):
        run(enter(netns, ["ip", *arguments]))


def _allow_forwarding(netns: str) -> None:
    """Let packets pass between pods, and let kube-proxy see those that stay on the bridge.

    The second file is there only where the kernel has bridge netfilter; without it a pod cannot
    reach a service that leads to another pod of this node.
    """
    script = "for f in ipv4/ip_forward bridge/bridge-nf-call-iptables; do "
    script += "[ ! -e /proc/sys/net/$f ] || echo 1 >/proc/sys/net/$f; done"
    run(enter(netns, ["sh", "-c", script]))
