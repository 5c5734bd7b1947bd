"""Checks of a server's exit: failure class, exit code, and no processes left."""

from mistral_dev.gpu import cards
from mistral_dev.gpu.scenario import ScenarioContext
from mistral_dev.gpu.server import ServerExit
from mistral_server.contract import EXIT_CODES, FailureClass


def expect_failure(
    context: ScenarioContext, failure: FailureClass, seconds: float, since: float | None = None
) -> ServerExit:
    """Wait for the server's exit and check it.

    Args:
        context: where the server is.
        failure: the class that it should report.
        seconds: time until it has exited.
        since: when it was made to fail; when the cause showed in its log, if left out.
    """
    server, findings = context.server, context.findings
    server.release()
    end = server.wait_or_kill(seconds)
    report = end.report
    if findings.check("it ends and reports", report is not None, server.log.tail(3)) and report:
        findings.equal("class", str(report.failure), failure.value)
        findings.note(seen=str(report.failure), stage=report.stage)
        findings.note(message=report.message, evidence=report.evidence)
    findings.equal("exit code", end.code, EXIT_CODES[failure])
    findings.equal("processes left", end.processes_left, 0)
    failed_at = since or server.log.cause_at
    if failed_at is not None:
        findings.note(exit_s=round(end.at - failed_at, 2))
    classification = server.log.classification
    if classification is not None and "engine.context_length" in classification.suggestions:
        findings.note(suggested=classification.suggestions["engine.context_length"])
    return end


def expect_free(context: ScenarioContext) -> None:
    """Check that the memory of the GPUs is free again; a hog has to be gone by then."""
    if context.gpus:
        seconds, used = cards.wait_until_free(context.gpus, 20)
        context.findings.note(freed_s=seconds)
        context.findings.check("the GPU's memory is free", used <= cards.SETTLED_MIB, f"{used} MiB")
