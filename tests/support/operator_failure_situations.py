"""Situations of servers that failed, and what is to be said of them."""

from builders import crashed_container, pod_body, termination, waiting_container
from mistral_operator.api import Reason
from mistral_operator.status.verdict import Outlook
from mistral_server.contract import FailureClass
from operator_cluster_situations import Case
from status_inputs import status_input

FAILURE_SITUATIONS: dict[str, Case] = {
    "the server died and left a report": (
        status_input(
            pod_body(
                crashed_container(
                    71,
                    message=termination(
                        FailureClass.START_FAILED,
                        "the GPU's memory is too small: lower spec.engine.contextLength",
                        "torch.OutOfMemoryError: CUDA out of memory",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        [
            "StartFailed (restarted 3 times): the GPU's memory is too small",
            "Evidence: torch.OutOfMemoryError: CUDA out of memory",
        ],
    ),
    "the server image is older than the operator": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_SERVER_SETTINGS cannot be used: engine.block_size: Extra inputs"
                        " are not permitted; gate.paths: Extra inputs are not permitted",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        [
            "InvalidConfiguration (restarted 3 times): the server image is older than the operator",
            "does not know engine.block_size, spec.gate.paths: set spec.image to the image of this",
        ],
    ),
    "the system prompt is not in the model's directory": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "Cannot read the file of system_prompt.path, SYSTEM_PROMPT.txt: No such"
                        " file or directory. Add it, or use another source of the system prompt.",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["InvalidConfiguration", "spec.systemPrompt", "SYSTEM_PROMPT.txt: No such file"],
    ),
    "the image that fetches is older than the operator": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    name="fetch",
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_FETCH_SETTINGS cannot be used: revision: Extra inputs are not"
                        " permitted",
                    ),
                ),
                waiting_container("PodInitializing"),
            )
        ),
        Reason.FETCH_FAILED,
        Outlook.STUCK,
        ["and does not know spec.model.revision: set spec.image"],
    ),
    "the settings are invalid for another cause": (
        status_input(
            pod_body(
                crashed_container(
                    78,
                    message=termination(
                        FailureClass.INVALID_CONFIGURATION,
                        "MISTRAL_SERVER_SETTINGS cannot be used: engine.context_length: Input"
                        " should be greater than 0",
                    ),
                )
            )
        ),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["spec.engine.contextLength: Input should be greater than 0"],
    ),
    "the kernel killed the server": (
        status_input(pod_body(crashed_container(137, "OOMKilled", restartCount=1))),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["OOMKilled, exit code 137"],
    ),
    "the server died with nothing but a log": (
        status_input(pod_body(crashed_container(1, message="Traceback\n  ...\nKeyError: 'x'\n"))),
        Reason.SERVER_FAILED,
        Outlook.STUCK,
        ["Error, exit code 1 (restarted 3 times): KeyError: 'x'"],
    ),
}
