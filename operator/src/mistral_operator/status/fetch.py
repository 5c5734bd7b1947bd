"""The progress of fetching a model, as far as pods report it."""

from mistral_operator.api.status import FetchStatus
from mistral_operator.watch.facts import Observed
from mistral_server.contract import SignalDocument

_GB = 10**9
_MB = 10**6


def fetch_status(observed: Observed) -> FetchStatus | None:
    """Return the progress of the pod that has fetched most, None if none reports any."""
    pods = (*observed.pods, *observed.prefetch_pods)
    signals = (observed.signal(pod) for pod in pods if pod.is_fetching)
    reported = [one.fetch for one in signals if one is not None and one.fetch is not None]
    if not reported:
        return None
    most = max(reported, key=lambda one: one.fetched_bytes)
    total = most.total_bytes
    fetched = most.fetched_bytes if total is None else min(most.fetched_bytes, total)
    return FetchStatus(fetched_bytes=fetched, total_bytes=total)


def progress_text(signal: SignalDocument | None) -> str:
    """Return the progress as text, such as 31 of 48 GB; empty if it is not known."""
    progress = None if signal is None else signal.fetch
    if progress is None:
        return ""
    total = progress.total_bytes
    if total is None:
        return f"{progress.fetched_bytes / _GB:.0f} GB" if progress.fetched_bytes >= _GB else ""
    unit, name = (_GB, "GB") if total >= _GB else (_MB, "MB")
    digits = 0 if total >= 10 * unit else 1
    fetched = min(progress.fetched_bytes, total)
    return f"{fetched / unit:.{digits}f} of {total / unit:.{digits}f} {name}"
