"""Does the model fit, and how many tokens of KV cache remain?

One pure function, behind the condition ModelFits and behind `mistral-operator fit`. `rule` has the
arithmetic, `advice` what would help.
"""

from dataclasses import replace

from mistral_operator.fit.advice import advice
from mistral_operator.fit.figures import source_of_figures
from mistral_operator.fit.rule import BLOCK_TOKENS, Fit, FitRequest, Weights, compute

__all__ = ["BLOCK_TOKENS", "Fit", "FitRequest", "Weights", "fit", "source_of_figures"]


def fit(request: FitRequest) -> Fit:
    """Say whether a model fits, what remains for the KV cache and, if not, what would help."""
    answer = compute(request)
    return answer if answer.fits else replace(answer, advice=advice(request, answer))
