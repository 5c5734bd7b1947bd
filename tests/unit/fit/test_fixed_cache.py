"""KV caches whose size a resource sets, in bytes or in blocks."""

from dataclasses import replace

import pytest

from fit_requests import BEFORE, H100, ONE_GPU
from mistral_operator.fit import FitRequest, fit
from mistral_operator.fit.cards import GIB


@pytest.mark.parametrize("gib", [5, 48, 52])
def test_a_fixed_cache_does_not_depend_on_the_share(gib: int) -> None:
    results = [
        fit(FitRequest(H100, gpu_memory_utilization=share, kv_cache_memory_bytes=gib * GIB))
        for share in (0.1, 0.90, 0.98)
    ]

    assert all(result.fits for result in results)
    assert {result.kv_cache_gib for result in results} == {gib}
    assert {result.kv_cache_tokens for result in results} == {2 * gib * GIB // 163_840 // 16 * 16}


@pytest.mark.parametrize("gib", [53, 56, 500])
def test_a_fixed_cache_larger_than_the_remaining_memory_does_not_fit(gib: int) -> None:
    result = fit(FitRequest(H100, kv_cache_memory_bytes=gib * GIB))

    assert not result.fits
    assert result.claimed_gib > result.free_gib


def test_a_fixed_cache_leaves_room_for_the_graphs_of_vllm_0_26_beyond_the_share() -> None:
    fixed = replace(BEFORE, kv_cache_memory_bytes=31 * GIB)

    assert fit(fixed).fits
    assert not fit(replace(fixed, eager=False)).fits


def test_a_number_of_blocks_overrides_every_size_of_the_cache() -> None:
    blocks = replace(ONE_GPU, cache_blocks=600, kv_cache_memory_bytes=500 * GIB)

    result = fit(blocks)

    assert result.fits
    assert result.kv_cache_tokens == 9600
    assert result.kv_cache_gib == 9600 * 163_840 / GIB


@pytest.mark.parametrize(("version", "longest"), [("0.26", 57_344), ("0.32", 57_328)])
def test_since_0_32_a_request_cannot_use_the_last_block(version: str, longest: int) -> None:
    # 0.26 suggested a context of 57,344 for a cache of as many, 0.32 one of 53,072 for 53,088.
    request = replace(ONE_GPU, cache_blocks=57_344 // 16, engine_version=version)

    assert fit(replace(request, context_length=longest)).fits
    assert not fit(replace(request, context_length=longest + 1)).fits
