"""Calls a target of `fuzz_targets` with inputs that atheris makes, following what reached new code.

`python -m bench.coverage_fuzzer TARGET FOLDER [OPTION ...]` keeps such inputs in the folder, so
that a later run continues with them, and an input that breaks a promise as `FOLDER.crash-...`. The
options are those of libFuzzer.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris  # type: ignore[import-untyped]

# Only what is imported here is followed; what it imports of others is not.
with atheris.instrument_imports(include=["mistral_server.gate", "mistral_server.contract"]):
    import fuzz_targets

TARGETS: dict[str, tuple[Callable[[], fuzz_targets.Target], Callable[[], Iterator[bytes]]]] = {
    "streams": (lambda: fuzz_targets.check_stream, fuzz_targets.stream_seeds),
    "exchanges": (
        lambda: fuzz_targets.Exchanges(os.environ.__setitem__).check,
        fuzz_targets.exchange_seeds,
    ),
    "documents": (lambda: fuzz_targets.check_documents, fuzz_targets.document_seeds),
}


def main(name: str, folder: str, *options: str) -> None:
    """Fuzz until an option ends it or a promise is broken."""
    make, seeds = TARGETS[name]
    corpus = Path(folder)
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    command = [sys.argv[0], f"-artifact_prefix={folder}.", "-max_len=8192", *options, folder]
    atheris.Setup(command, make())
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
