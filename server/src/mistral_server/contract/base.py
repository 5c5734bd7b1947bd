"""The base of every model in the contract."""

from pydantic import BaseModel, ConfigDict


class ContractModel(BaseModel):
    """A frozen model that refuses fields it does not know.

    Both sides are of one release, so an unknown field is a mistake and never a newer peer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
