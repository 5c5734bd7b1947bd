"""Which machine this is, and one run of the scenarios on it."""

import platform
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mistral_dev.gpu import cards
from mistral_dev.gpu.choice import chosen
from mistral_dev.gpu.model import write_model
from mistral_dev.gpu.rig import TINY, Rig
from mistral_dev.gpu.run_output import RunOutput, finished_scenarios
from mistral_dev.gpu.runner import Runner
from mistral_dev.gpu.scenario import Scenario
from mistral_dev.gpu.scenarios import ALL
from mistral_dev.gpu.table import table
from mistral_dev.paths import CHECKOUT

SMALLEST_MIB = 75_000
"""The figures of the scenarios are those of an 80 GB card."""

NO_GPU = "there is no NVIDIA GPU with 80 GB here (nvidia-smi shows none)."

_SOURCES = tuple(str(CHECKOUT / part / "src") for part in ("dev", "operator", "server"))

_LOG_SECONDS = 10.0
"""Of a run's time, for packing the logs."""


def full(work: Path, python: str, site: str | None) -> Rig | None:
    """Return the rig of this machine's GPUs with the full-size model, None if it has none."""
    usable = [card for card in cards.cards() if card.memory_mib >= SMALLEST_MIB]
    if not usable:
        return None
    return Rig(
        device="cuda",
        gpus=tuple(card.index for card in usable),
        memory_mib=usable[0].memory_mib,
        python=python,
        packages=(*_SOURCES, *([site] if site else [])),
        model=str(write_model(work / "model", _tokenizer(site))),
        work=work,
    )


def tiny(work: Path, lanes: int) -> Rig:
    """Return a rig that pretends to have GPUs and serves the tiny checkpoint on CPUs."""
    from mistral_dev.images import checkpoint, engine

    return Rig(
        device="cpu",
        gpus=tuple(range(lanes)),
        memory_mib=0,
        python=str(engine.engine() / "bin" / "python"),
        packages=_SOURCES,
        model=str(checkpoint.checkpoint()),
        work=work,
        scale=TINY,
        variables=engine.ENGINE_VARIABLES,
    )


@dataclass(frozen=True)
class Selection:
    """Which scenarios are to be run."""

    patterns: Sequence[str] = ()
    except_done_in: Sequence[Path] = ()
    """Directories of earlier results; what was run then, to whatever outcome, is left out."""

    def scenarios(self, cpu: bool) -> list[Scenario]:
        """Return them, the most important first."""
        done = {name for out in self.except_done_in for name in finished_scenarios(out)}
        return [one for one in chosen(ALL, self.patterns, cpu) if one.name not in done]


def prove(rig: Rig, selection: Selection, seconds: float, out: Path) -> int:
    """Run scenarios, print the table last, and return how many of its lines are no success."""
    output = RunOutput(out, rig.work, _about(rig))
    scenarios = selection.scenarios(cpu=rig.device == "cpu")
    runner = Runner(rig, scenarios, seconds - _LOG_SECONDS, output.add)
    packing = _Packing(output)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        runner.run()
    finally:
        packing.stop()
        output.write()
        output.write_logs()
    print(table(output.results), flush=True)
    return sum(one.outcome in {"FAIL", "ERROR"} for one in output.results)


def _about(rig: Rig) -> dict[str, object]:
    return {
        "gpus": [f"{card.name}, {card.memory_mib} MiB, {card.driver}" for card in cards.cards()],
        "lanes": rig.gpus,
        "device": rig.device,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _tokenizer(site: str | None) -> Path | None:
    path = Path(site or "", "mistral_common", "data", "tekken_240911.json")
    return path if site and path.exists() else None


class _Packing:
    """Packs the logs once a minute: a run that is cut by force leaves the last pack."""

    def __init__(self, output: RunOutput) -> None:
        self._output = output
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._stopped.wait(60):
            self._output.write_logs()
