"""Secrets in foreign texts are hidden, control characters removed, and long texts cut."""

import pytest

from mistral_server.contract import public_text

CANARY = "canary0123456789abcdef"

SECRETS = [
    f"https://user:{CANARY}@hub.example.com/api",
    f"https://{CANARY}@hub.example.com",
    f"Authorization: Bearer {CANARY}",
    f"{{'Authorization': 'Bearer {CANARY}'}}",
    f'"authorization": "Basic {CANARY}"',
    f"bearer {CANARY}",
    f"Bearer: {CANARY}",
    f"Illegal header value b'Bearer {CANARY}\\n'",
    f"hf_{CANARY}",
    f"illegal token 'hf_{CANARY}'",
    f"hf_\x00{CANARY}",
    f"\x1b[31mhf_{CANARY}\x1b[0m",
    f"sk-{CANARY}",
    f"password={CANARY}",
    f"PASSWORD: {CANARY}",
    f'"api_key": "{CANARY}"',
    f"api-key = '{CANARY}'",
    f"MISTRAL_SERVER_TOKEN={CANARY}",
    f"HF_TOKEN={CANARY}",
    f"https://host/path?token={CANARY}&x=1",
    f"client_secret: {CANARY}",
    f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    f'{{"body": "{{\\"password\\": \\"{CANARY}\\"}}"}}',
    f"HF_TOKEN=b'{CANARY}'",
    f"AWS_SECRET_ACCESS_KEY={CANARY}",
    f"TOKEN_V2: {CANARY}",
    f"Authorization: ApiKey {CANARY}",
    f"{{'Authorization': 'ApiKey {CANARY}', 'x': 'y'}}",
    f"authorization: Bearer     {CANARY}",
    f"bearer     {CANARY}",
    f"Proxy-Authorization: Digest username=u, response={CANARY}",
    f"Cookie: a=b; session={CANARY}",
    f"Set-Cookie: session={CANARY}; Path=/",
    f'password="correct horse {CANARY}"',
    f"password = 'it, or {CANARY}'",
    f"token='a)b(c}}{CANARY}'",
    f"password: correct,{CANARY}",
    f"http://user:p@{CANARY}@proxy:3128/",
    f"http://user:p/{CANARY}@proxy:3128/",
    f"https://host/x?X-Amz-Signature={CANARY}&x=1",
    f"https://host/x?Key-Pair-Id=K&Signature=a~{CANARY}",
    f"https://host/x?sv=1&sig=Zm9v%3D{CANARY}",
    f"--api-key {CANARY} --port 1",
    f"--hf-token {CANARY}",
    f"github_pat_11ABC_{CANARY}",
    f"gho_{CANARY}",
    f"ghs_{CANARY}",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
    f"-----BEGIN RSA PRIVATE KEY----- {CANARY}",
    f"x-api-key: {CANARY}",
    f"AccountName=a;AccountKey={CANARY}==",
    f"SharedAccessKey={CANARY}",
    f"AWS_ACCESS_KEY_ID={CANARY}",
    f"passphrase: {CANARY}",
    f"pwd: {CANARY}",
    f"client-key-data: {CANARY}",
    f'{{"auths": {{"registry": {{"auth": "{CANARY}"}}}}}}',
    "--token canary-without-digits",
    f"the value is {CANARY}",
]
"""The last one is a secret because it is known to be."""

KEYS = ["AKIA" + "IOSFODNN7EXAMPLE", "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_cloud_is_hidden(key: str) -> None:
    assert public_text(f"with {key}", 500) == "with [hidden]"


HARMLESS = [
    "401 Unauthorized: the authorization of the hub failed, see its log",
    "the token budget is exhausted; tokens per second: 12",
    "max_tokens must be at most 4096, got: 5000",
    "mail a@b, then see https://hub.example.com/c@d",
    "signature verification is off, cookies are not used",
    "-----BEGIN CERTIFICATE-----",
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB",
    "max_num_batched_tokens=8192, max_model_len: 131072",
    "https://hub.example.com:8443/models/small",
    "The API key is missing or not known here",
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available",
    'secret "hf-token" not found',
    "create Secret hf-token in namespace a@b",
    "Lower spec.engine.maxSequences. Evidence: ValueError: 4096 tokens needed",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_hidden(text: str) -> None:
    shown = public_text(f"before {text} after", 500, [CANARY])

    assert CANARY not in shown
    assert shown.startswith("before ")
    assert "[hidden]" in shown


@pytest.mark.parametrize("text", SECRETS[:-1])
def test_a_secret_is_hidden_by_its_form(text: str) -> None:
    assert CANARY not in public_text(text, 500)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert public_text(text, 500, ["", "a"]) == text


def test_of_nested_secrets_the_longest_is_hidden_first() -> None:
    assert public_text("abcd and abcd1234secret", 500, ["abcd", "abcd1234secret"]) == (
        "[hidden] and [hidden]"
    )


def test_a_text_is_one_line_without_escapes() -> None:
    text = "a\nb\x1b[2J\x1b]0;title\x07c\x00\u202ed\ud800e"

    shown = public_text(text, 500)

    assert shown.isprintable()
    assert "\n" not in shown


def test_a_long_text_is_cut() -> None:
    assert public_text("x" * 50, 10) == "xxxxxxx..."
    assert public_text("x" * 10, 10) == "x" * 10


def test_a_secret_at_the_end_of_a_long_text_is_not_cut_into_view() -> None:
    for length in range(80, 120):
        shown = public_text("x" * length + f" hf_{CANARY}", 100)
        assert "canary" not in shown


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 10**6, "://" * 10**5, "bearer " * 10**5, "token=" * 10**5, "eyJ" * 10**5),
        *("hf_" * 10**5, "://a:b" * 10**5, "--" * 10**5, "--token " * 10**5, "sig=" * 10**5),
        *("token='" * 10**5, "cookie:" * 10**5, "cookie: \n" * 10**5),
        "-----BEGIN PRIVATE KEY-----" * 10**4,
    ],
    ids=lambda text: text[:9],
)
def test_a_text_of_a_megabyte_is_read_in_bounded_steps(text: str) -> None:
    assert len(public_text(text, 100)) <= 100
