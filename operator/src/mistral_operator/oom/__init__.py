"""Memory failures: what failed, how often, and what to do. Pure: the clock is an argument.

`failures` says why a container exited, `counting` counts each exit once, `ladder` knows what may
help, `remedy` takes one step at a time. Everything that they remember is in `status.oom`, so that
it survives the operator.
"""

from mistral_operator.oom.believed import believed
from mistral_operator.oom.failures import Failure, failures_of
from mistral_operator.oom.overrides import effective_resource
from mistral_operator.oom.quiet_period import is_watched, seconds_until_quiet
from mistral_operator.oom.remedy import RemedyInputs, decide, settings_in_force

__all__ = [
    "Failure",
    "RemedyInputs",
    "believed",
    "decide",
    "effective_resource",
    "failures_of",
    "is_watched",
    "seconds_until_quiet",
    "settings_in_force",
]
