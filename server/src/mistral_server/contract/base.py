"""Base classes of the models in the contract."""

from pydantic import BaseModel, ConfigDict


class ContractModel(BaseModel):
    """A frozen model that rejects unknown fields.

    The operator renders settings for the server image that it was installed with, so an unknown
    field is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerDocument(ContractModel):
    """A document written by a server. Unknown fields of a newer server are ignored.

    With `spec.image` and during a rollout, an operator reads documents of other server versions.
    """

    model_config = ConfigDict(extra="ignore")
