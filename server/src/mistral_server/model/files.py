"""Report a missing file of a model before the engine fails on it.

``supervisor`` checks the directory that it serves, ``fetch`` the one that it downloaded to.
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
"""Pattern of the weight files, by format."""


def missing(directory: Path, form: ModelFormat, *, weights: bool = True) -> str | None:
    """Return the first pattern without a matching file, or None."""
    required = [CONFIGURATION[form], *([WEIGHTS[form]] if weights else [])]
    return next((pattern for pattern in required if not any(directory.glob(pattern))), None)


def check_model(model: ModelSettings) -> None:
    """Check that the engine will find the files that it needs.

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
