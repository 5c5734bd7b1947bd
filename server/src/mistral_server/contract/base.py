"""The bases of every model in the contract."""

from pydantic import BaseModel, ConfigDict


class ContractModel(BaseModel):
    """A frozen model that refuses fields it does not know.

    The operator renders settings for the server image that it was installed with, so an unknown
    field is a mistake.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerDocument(ContractModel):
    """What a server writes. Fields of a newer server are ignored.

    `spec.image` and a rollout both let an operator read servers of other versions than its own.
    """

    model_config = ConfigDict(extra="ignore")
