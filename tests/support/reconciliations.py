"""What several tests of the reconciler do with a life, and ask of it."""

from collections.abc import Callable

from builders import NAMESPACE, Object
from fake_api_server import Write
from fake_objects import ApiError
from mistral_operator.kube.objects import Key
from mistral_server.contract import FailureClass
from operator_life import Life
from operator_scenarios import TOO_SMALL, report_of


async def ready(life: Life, spec: Object | None = None) -> int:
    """Bring an endpoint to where it answers; return how many writes that took."""
    await life.start()
    life.create(spec)
    await life.settle()
    assert life.reason() == "Ready"
    return len(life.api.writes)


def fail(life: Life, failure: FailureClass = FailureClass.CUDA_OOM_LOAD) -> None:
    """Let the server of every pod fail."""
    report = TOO_SMALL if failure is FailureClass.KV_CACHE_TOO_SMALL else report_of(failure)
    for pod in life.pods():
        life.workloads.fail(Key(NAMESPACE, pod["metadata"]["name"]), report)


def reject(
    life: Life, error: ApiError, which: Callable[[Write], bool], times: int = 10_000
) -> list[Write]:
    """Let the API server reject some writes; return those that it rejected."""
    rejected: list[Write] = []

    async def before(write: Write) -> None:
        if which(write) and len(rejected) < times:
            rejected.append(write)
            raise error

    life.api.before_write = before
    return rejected


def verbs(life: Life, since: int) -> list[str]:
    """Return the verbs of the writes since a number of them, without Events."""
    return [write.verb for write in life.api.writes[since:] if write.verb != "post"]
