"""Situations of pods that fetch the model, and what is to be said of them."""

from builders import container, crashed_container, ended, pod_body, termination, waiting_container
from mistral_operator.api import Reason
from mistral_operator.status import StatusInput
from mistral_operator.status.verdict import Outlook
from mistral_server.contract import FailureClass, SignalDocument
from operator_cluster_situations import Case
from status_inputs import status_input, with_signals

FETCHED = container("fetch", state={"terminated": {"exitCode": 0, "reason": "Completed"}})


def fetching(**progress: int) -> StatusInput:
    """Return an endpoint whose pod reports how much of its model it has fetched."""
    pod = pod_body(container("fetch"), waiting_container("PodInitializing"))
    document = SignalDocument.model_validate({"ready": False, "fetch": progress})
    return with_signals(status_input(pod), small_1=document)


FETCH_SITUATIONS: dict[str, Case] = {
    "the model is being fetched": (
        status_input(pod_body(container("fetch"), waiting_container("PodInitializing"))),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub"],
    ),
    "a part of the model is fetched": (
        fetching(fetched_bytes=31_400_000_000, total_bytes=48_022_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub: 31 of 48 GB"],
    ),
    "a small model is fetched": (
        fetching(fetched_bytes=310_000_000, total_bytes=900_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["310 of 900 MB"],
    ),
    "the fetch was killed and runs again": (
        status_input(
            pod_body(container("fetch", restartCount=1, lastState=ended(137))),
        ),
        Reason.FETCHING,
        Outlook.WAITING,
        ["the model is being fetched from the hub again, since the first fetch was killed"],
    ),
    "the fetch was killed and does not run yet": (
        status_input(pod_body(container("fetch", state=ended(137)))),
        Reason.FETCHING,
        Outlook.WAITING,
        ["again, since the first fetch was killed"],
    ),
    "the fetch is killed each time": (
        status_input(pod_body(crashed_container(137, name="fetch"))),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["Error, exit code 137 (restarted 3 times)"],
    ),
    "the fetch ran out of memory and runs again": (
        status_input(
            pod_body(container("fetch", restartCount=1, lastState=ended(137, "OOMKilled"))),
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["OOMKilled, exit code 137"],
    ),
    "more of a model is reported than there is": (
        fetching(fetched_bytes=2**53, total_bytes=48_022_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["48 of 48 GB"],
    ),
    "another replica fetches the model": (
        fetching(fetched_bytes=31_400_000_000),
        Reason.FETCHING,
        Outlook.WAITING,
        ["from the hub: 31 GB"],
    ),
    "the model is fetched and the server has not been polled": (
        with_signals(
            status_input(pod_body(container(), FETCHED)),
            small_1=SignalDocument.model_validate({"ready": False, "fetch": {"fetched_bytes": 7}}),
        ),
        Reason.STARTING,
        Outlook.WAITING,
        ["the server is starting"],
    ),
    "the model cannot be fetched": (
        status_input(
            pod_body(
                crashed_container(
                    66,
                    name="fetch",
                    message=termination(FailureClass.MODEL_UNAVAILABLE, "the hub says 401"),
                ),
                waiting_container("PodInitializing"),
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["ModelUnavailable (restarted 3 times): the hub says 401"],
    ),
    "the claim is too small for the model": (
        status_input(
            pod_body(
                crashed_container(
                    66,
                    message=termination(
                        FailureClass.MODEL_UNAVAILABLE,
                        "Cannot fetch a/b@main: the volume of /models is full: increase its size",
                    ),
                    name="fetch",
                )
            ),
            spec={"cache": {}},
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["the volume of /models is full: increase spec.cache.size"],
    ),
    "the fetch is tried again": (
        status_input(
            pod_body(
                container("fetch", restartCount=1, lastState=crashed_container(66)["lastState"])
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["Error, exit code 66"],
    ),
    "the model was fetched and the server comes next": (
        status_input(pod_body(FETCHED, waiting_container("PodInitializing"))),
        Reason.CREATING,
        Outlook.WAITING,
        ["the pod's containers are being created"],
    ),
}
