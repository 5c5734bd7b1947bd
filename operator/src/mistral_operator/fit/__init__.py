"""Whether the model fits the GPUs, and the remaining tokens of KV cache.

One pure function, for the condition ModelFits and for `mistral-operator fit`. `rule` has the
arithmetic, `advice` the changes that would help.
"""

from dataclasses import replace

from mistral_operator.fit.advice import advice
from mistral_operator.fit.figures import source_of_figures
from mistral_operator.fit.rule import BLOCK_TOKENS, Fit, FitRequest, Weights, compute

__all__ = ["BLOCK_TOKENS", "Fit", "FitRequest", "Weights", "fit", "source_of_figures"]


def fit(request: FitRequest) -> Fit:
    """Return whether a model fits, the KV cache that remains and, if not, what would help."""
    result = compute(request)
    return result if result.fits else replace(result, advice=advice(request, result))
