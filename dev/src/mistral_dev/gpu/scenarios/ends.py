"""How a server should have ended: by its class, with its code, leaving nothing; used by others."""

from mistral_dev.gpu import cards
from mistral_dev.gpu.scenario import Room
from mistral_dev.gpu.server import End
from mistral_server.contract import EXIT_CODES, FailureClass


def expect(room: Room, failure: FailureClass, seconds: float, since: float | None = None) -> End:
    """Wait for the server's end and check it.

    Args:
        room: where the server is.
        failure: the class that it should report.
        seconds: time until it has ended.
        since: when it was made to fail; when the cause showed in its log, if left out.
    """
    server, found = room.server, room.findings
    server.release()
    end = server.end(seconds)
    report = end.report
    if found.check("it ends and reports", report is not None, server.log.tail(3)) and report:
        found.equal("class", report.failure.value, failure.value)
        found.note(seen=report.failure.value, stage=report.stage)
        found.note(message=report.message, evidence=report.evidence)
    found.equal("exit code", end.code, EXIT_CODES[failure])
    found.equal("processes left", end.processes_left, 0)
    begins = since or server.log.cause_at
    if begins is not None:
        found.note(exit_s=round(end.at - begins, 2))
    classification = server.log.classification
    if classification is not None and "engine.context_length" in classification.suggestions:
        found.note(suggested=classification.suggestions["engine.context_length"])
    return end


def expect_free(room: Room) -> None:
    """Check that the memory of the GPUs is free again; a hog has to be gone by then."""
    if room.gpus:
        seconds, used = cards.settled(room.gpus, 20)
        room.findings.note(freed_s=seconds)
        room.findings.check("the GPU's memory is free", used <= cards.SETTLED_MIB, f"{used} MiB")
