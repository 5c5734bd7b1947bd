"""An endpoint with autoscaling in a cluster, and the replicas that its Deployment has."""

from cluster_namespace import Namespace, Object, resource

AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0},
}


def scaled(**autoscaling: object) -> Object:
    """Return an endpoint of 1 to 4 replicas of 10 requests each."""
    fields = {"maxReplicas": 4, "targetInFlight": 10, "behavior": AT_ONCE, **autoscaling}
    return resource("small", {"autoscaling": fields})


def replicas(namespace: Namespace) -> int:
    """Return the desired replicas of the Deployment."""
    number: int = namespace.wait_for("deployment", "small")["spec"]["replicas"]
    return number
