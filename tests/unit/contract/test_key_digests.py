"""Digests of API keys in signals: what they are, and what a hostile pod can make of them."""

import json
from typing import Any

import pytest

from mistral_server.contract import (
    KEY_DIGEST_METHOD,
    MAX_KEY_DIGESTS,
    KeyDigests,
    SignalDocument,
    key_digest,
)

SALT = "c2FsdHNhbHRzYWx0"
GOOD = {"method": KEY_DIGEST_METHOD, "salt": SALT, "digests": ["AAAAAAAA", "BBBBBBBB"]}


def read(key_digests: Any) -> SignalDocument:
    """Return signals with these digests, as the operator reads them."""
    return SignalDocument.read(
        json.dumps({"ready": True, "running": 3, "key_digests": key_digests})
    )


def test_a_digest_depends_on_key_and_salt_and_never_changes() -> None:
    digests = [
        key_digest(*one)
        for one in ((b"a key", SALT), (b"a key", SALT), (b"a key2", SALT), (b"a key", "A" * 16))
    ]

    assert digests[0] == digests[1] == "vhZbvVxL", "replicas and activators of other versions agree"
    assert len({*digests}) == 3
    published = KeyDigests(method=KEY_DIGEST_METHOD, salt=SALT, digests=tuple(digests))
    assert published.usable


def test_digests_pass_unchanged() -> None:
    digests = read(GOOD).key_digests

    assert digests is not None
    assert digests.usable
    assert digests.model_dump(mode="json") == GOOD


@pytest.mark.parametrize(
    "key_digests",
    [
        *(None, [], "scrypt", 5, {}, {"digests": {}}),
        *(GOOD | {"method": one} for one in ("scrypt-2", "", None, 5, "x" * 100_000)),
        *(GOOD | {"digests": one} for one in (None, "AAAAAAAA", [], [5], [["AAAAAAAA"]])),
        *(GOOD | {"digests": [one]} for one in ("AAAAAAA", "AAAAAAAAA", "AAAA AAA", "ÄÄÄÄÄÄÄÄ")),
        GOOD | {"digests": ["AAAAAAAA"] * (MAX_KEY_DIGESTS + 1)},
        GOOD | {"digests": ["AAAAAAAA", "x" * 60_000]},
        GOOD | {"digests": ["AAAAAAAA\n"]},
    ],
    ids=lambda one: str(one)[:60],
)
def test_odd_digests_are_none_and_do_not_lose_the_other_fields(key_digests: Any) -> None:
    signals = read(key_digests)

    assert signals.key_digests is None or not signals.key_digests.usable
    assert (signals.ready, signals.running) == (True, 3)


@pytest.mark.parametrize("salt", [None, 5, "", "A" * 15, "A" * 17, "A" * 60_000, "A A" + "A" * 13])
def test_an_odd_salt_is_bounded(salt: Any) -> None:
    digests = read(GOOD | {"salt": salt}).key_digests

    assert digests is None or len(digests.salt) == 16


def test_an_older_server_reports_none() -> None:
    assert SignalDocument.read('{"ready": true}').key_digests is None
