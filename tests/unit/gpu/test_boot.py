"""What a server on GPUs is compared with: `fit`, for its card, its arguments and its vLLM."""

from pathlib import Path

import pytest

from mistral_dev.gpu.rig import Rig
from mistral_dev.gpu.scenarios.boot import FIT_TOLERANCE, expected

H100_MIB, H200_MIB = 81_559, 143_771


@pytest.mark.parametrize(
    ("memory_mib", "eager", "version", "measured"),
    [
        (H200_MIB, True, "0.32.0", 513_856),
        (H200_MIB, False, "0.32.0", 506_672),
        (H100_MIB, True, "0.26.0", 161_136),
        (H100_MIB, False, "0.26.0", 160_720),
    ],
)
def test_a_server_is_compared_with_what_fits_its_card_arguments_and_version(
    tmp_path: Path, memory_mib: int, eager: bool, version: str, measured: int
) -> None:
    rig = Rig("cuda", (0,), memory_mib, "python3", (), "/model", tmp_path)

    answer = expected(rig, rig.plan("one", eager=eager), version)

    assert measured == pytest.approx(answer.kv_cache_tokens, rel=FIT_TOLERANCE)


def test_the_figures_of_the_vllm_before_are_beyond_the_tolerance(tmp_path: Path) -> None:
    rig = Rig("cuda", (0,), H200_MIB, "python3", (), "/model", tmp_path)
    before, now = (expected(rig, rig.plan("one"), one) for one in ("0.26.0", "0.32.0"))

    assert before.kv_cache_tokens > now.kv_cache_tokens * (1 + FIT_TOLERANCE)
