"""`spec.service`: the Service in front of the pods."""

from typing import Literal

from pydantic import Field

from mistral_operator.api.base import ApiModel
from mistral_operator.api.metadata import Annotations


class Service(ApiModel):
    """The Service of an endpoint."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service. The chart value `allowedServiceTypes` must list another type than
    ClusterIP. `network.callers` applies to the callers from outside as well."""
    annotations: Annotations = Field(default={}, max_length=8)
    """Annotations of the Service, such as those of a load balancer."""
