"""Say in one sentence what is missing from a model's directory, before the engine looks for it.

``supervisor`` asks about the directory it is to serve, ``fetch`` about the one it filled.
"""

from pathlib import Path

from mistral_server.contract import ModelSettings
from mistral_server.contract.settings import ModelFormat
from mistral_server.errors import ModelUnavailableError

CONFIGURATION: dict[ModelFormat, str] = {"mistral": "params.json", "huggingface": "config.json"}
"""The file that describes the model, by format."""

WEIGHTS: dict[ModelFormat, str] = {
    "mistral": "consolidated*.safetensors",
    "huggingface": "*.safetensors",
}
"""Pattern of the files that hold the weights, by format."""


def missing(directory: Path, form: ModelFormat, *, weights: bool = True) -> str | None:
    """Return the first pattern that no file of the directory matches, None if all do."""
    required = [CONFIGURATION[form], *([WEIGHTS[form]] if weights else [])]
    return next((pattern for pattern in required if not any(directory.glob(pattern))), None)


def check_model(model: ModelSettings) -> None:
    """Return if the engine will find what it needs.

    Raises:
        ModelUnavailableError: the directory or a file is missing.
    """
    directory = Path(model.path)
    if not directory.is_dir():
        raise ModelUnavailableError(
            f"The model's directory {model.path} does not exist: check the volume that should hold "
            "it, or let the model be fetched."
        )
    if pattern := missing(directory, model.format, weights=not model.random_weights):
        raise ModelUnavailableError(
            f"The model's directory {model.path} contains no {pattern}, which the format "
            f"{model.format} requires: fetch the model again, or correct its path or format."
        )
