"""Requests of hostile callers, and the reason that the gate counts for each.

Built the same way every time. Each is refused by its head or its body; none may be read by the
engine and not by the gate.
"""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gate_engine import CHAT, COMPLETIONS

USER = {"role": "user", "content": "Hi"}
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400")
JSON = "application/json"


@dataclass(frozen=True)
class Attack:
    """One request and the reason of its refusal."""

    title: str
    reason: str
    body: bytes
    status: int = 400
    path: str = CHAT
    headers: tuple[tuple[str, str], ...] = ()


def chat(**fields: Any) -> dict[str, Any]:
    """Return a chat with further fields."""
    return {"messages": [USER], **fields}


def dumped(value: Any) -> bytes:
    """Return JSON as most clients write it."""
    return json.dumps(value).encode()


def percents() -> dict[str, Any]:
    """Return a part with an image that is encoded, but not in base64."""
    return {"type": "image_url", "image_url": {"url": "data:image/png,%89PNG"}}


def attacks() -> list[Attack]:
    """Return all of them."""
    return [*_unreadable(), *_declared(), *_numbers(), *_counts(), *_constraints(), *_images()]


def _unreadable() -> Iterator[Attack]:
    """Yield what Python's `json` reads and RFC 8259 does not have, and what neither reads."""
    for number in NUMBERS:
        for title, text in {
            "an unknown field": '{"messages":[{"role":"user","content":"Hi"}],"x":%s}',
            "a known field": '{"messages":[{"role":"user","content":"Hi"}],"temperature":%s}',
            "metadata": '{"messages":[{"role":"user","content":"Hi"}],"metadata":{"x":[%s]}}',
            "a message": '{"messages":[{"role":"user","content":"Hi","x":%s}]}',
            "a schema": '{"messages":[],"response_format":{"json_schema":{"schema":{"const":%s}}}}',
        }.items():
            yield Attack(f"{number} in {title}", "not_json", (text % number).encode())
    text = json.dumps(chat())
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        yield Attack(encoding, "not_json", text.encode(encoding))
    yield Attack("a byte order mark", "not_json", text.encode("utf-8-sig"))
    surrogates = {
        "high": rb"\ud83d",
        "low": rb"\ude00",
        "reversed": rb"\ude00\ud83d",
        "two high": rb"\ud83d\ud83d",
        "cut": rb"\ud83d\u",
        "in UTF-8": b"\xed\xa0\xbd",
    }
    for title, surrogate in surrogates.items():
        for position, frame in {
            "a content": b'{"messages":[{"role":"user","content":"%b"}]}',
            "a role": b'{"messages":[{"role":"%b","content":"Hi"}]}',
            "a key": b'{"messages":[],"%b":1}',
            "an unknown field": b'{"messages":[],"x":{"y":["%b"]}}',
        }.items():
            yield Attack(f"a surrogate, {title}, in {position}", "not_json", frame % surrogate)
    for title, raw in {
        "invalid": b"\xff",
        "overlong": b"\xc0\xaf",
        "cut": b"\xe2\x82",
        "beyond Unicode": b"\xf5\x80\x80\x80",
    }.items():
        yield Attack(f"{title} UTF-8", "not_json", b'{"messages":[{"role":"%b"}]}' % raw)
        yield Attack(f"{title} UTF-8 unread", "not_json", b'{"messages":[],"x":"%b"}' % raw)
    for title, body in {
        "nothing": b"",
        "space": b"  ",
        "a list": b'[{"role":"user"}]',
        "a number": b"7",
        "null": b"null",
        "two objects": b'{"messages":[]}{"n":10000}',
        "a zero byte behind": b'{"messages":[]}\0',
        "cut": b'{"messages":[{"role":"user"}]',
        "a word": b'{"messages":[],"stream":tru}',
        "single quotes": b"{'messages':[]}",
        "a comment": b'{"messages":[]/* */}',
        "a last comma": b'{"messages":[],}',
        "a control character": b'{"messages":[{"role":"\x01"}]}',
        "a digit of 5,000": b'{"messages":[],"x":' + b"9" * 5000 + b"}",
        "a digit of 5,000 as n": b'{"messages":[],"n":' + b"9" * 5000 + b"}",
        "compressed": b"\x1f\x8b\x08 not json",
        "nested": b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    }.items():
        yield Attack(f"no JSON: {title}", "not_json", body)
    for title, fields in {
        "messages": {"messages": "Hi"},
        "a role": {"messages": [{"role": 7}]},
        "no role": {"messages": [{"content": "Hi"}]},
        "a secret as a role": {"messages": [{"role": "canary-prompt", "content": "Hi"}]},
        "tools": chat(tools=7),
        "a tool": chat(tools=["f"]),
        "a call's id": chat(messages=[{"role": "assistant", "tool_calls": [{"id": 7}]}]),
    }.items():
        yield Attack(f"wrong type: {title}", "invalid_request", dumped(fields))


def _declared() -> Iterator[Attack]:
    body = dumped(chat())
    for kind in ("text/plain", "text/json", "application/x-www-form-urlencoded", "", "json", "*/*"):
        headers = (("content-type", kind),)
        yield Attack(f"content type {kind!r}", "content_type", body, headers=headers)
    for title, kind in {
        "a no-break space behind": "application/json\xa0",
        "a no-break space before": "\xa0application/json",
        "a next line behind": "application/json\x85",
        "a letter behind": "application/json\xe4",
        "a letter in a parameter": "application/json; x=\xe4",
    }.items():
        headers = (("content-type", kind),)
        for path in (CHAT, "/tokenize"):
            name = f"content type with {title} for {path}"
            yield Attack(name, "content_type", body, path=path, headers=headers)
    brackets = b'{"prompt":[' + b"[]," * 150_000 + b"[]]}"
    for kind in ("", "application/json", "APPLICATION/X+JSON ;x", "application/json\t; charset=x"):
        headers = (("content-type", kind),)
        yield Attack(f"read as {kind!r}", "brackets", brackets, path="/tokenize", headers=headers)
    for encoding in ("gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "x"):
        headers = (("content-encoding", encoding),)
        yield Attack(f"content encoding {encoding}", "content_encoding", body, headers=headers)
    for length in ("-1", "+5", "0x10", "1e3", "5 5", "nine", "", "9" * 20, "9" * 5000):
        headers = (("content-length", length),)
        yield Attack(
            f"length {length[:9]} of {len(length)}", "content_length", body, headers=headers
        )
    for path in (CHAT, "/tokenize", "/health"):
        headers = (("content-length", "9999999999"),)
        yield Attack(f"a long body to {path}", "body_too_large", body, 413, path, headers)
    for count in (1, 100):
        fields = tuple((f"x-{at}", "a" * (70_000 // count)) for at in range(count))
        yield Attack(f"{count} long headers", "header_bytes", body, 431, headers=fields)


_WRONG_NUMBERS: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1e-300, 0, -1, 1e300, "1e-300", "much"),
    "temperature": (1e300, -1, 10**30),
    "top_p": (2, -1),
    "min_p": (2, -1),
    "frequency_penalty": (1e300, -3),
    "presence_penalty": (3, -1e300),
    "length_penalty": (1e300, -1e300),
    "top_k": (2**31, 10**30, -2, "9" * 30),
    "min_tokens": (-1, 10**30),
    "max_tokens": (-1, 10**30),
    "max_completion_tokens": (-1, 2**64),
    "thinking_token_budget": (10**30,),
    "stream_interval": (0, 10**30),
}


def _numbers() -> Iterator[Attack]:
    for name, values in _WRONG_NUMBERS.items():
        for value in values:
            title = f"{name} {value!r:.12}"
            yield Attack(title, "out_of_range", dumped(chat(**{name: value})))
    for value in (129, 10_000, 10_000.0, "10000", "1_000", "1e4", 1e300, 10**400, [1], {}):
        for name in ("n", "best_of"):
            yield Attack(f"{name} {value!r:.9}", "choices", dumped(chat(**{name: value})))
    batch = {"prompt": ["x"] * 1000, "n": 100}
    yield Attack("prompts times n", "generations", dumped(batch), path=COMPLETIONS)
    for kind, one in {"texts": "x", "tokens": [1]}.items():
        many = dumped({"prompt": [one] * 1025})
        yield Attack(f"many {kind}", "prompts", many, path=COMPLETIONS)
    for name in ("top_logprobs", "prompt_logprobs", "logprobs"):
        for value in (-1, 129, 131_072, "131072", "all"):
            yield Attack(f"{name} {value!r}", "logprobs", dumped(chat(**{name: value})))


def _counts() -> Iterator[Attack]:
    part = {"type": "text", "text": ""}
    call = {"id": "abcdef123", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assistant = {"role": "assistant", "tool_calls": [call] * 8193}
    tool = {"type": "function", "function": {"name": "f"}}
    messages = [USER] * 8193
    yield Attack("messages", "messages", dumped({"messages": messages}))
    yield Attack("messages to count", "messages", dumped({"messages": messages}), path="/tokenize")
    spread = [{"role": "user", "content": [part] * 91}] * 91
    for title, parts in {
        "in one message": [{"role": "user", "content": [part] * 8193}],
        "in many messages": spread,
        "as calls": [assistant],
    }.items():
        yield Attack(f"parts {title}", "content_parts", dumped({"messages": parts}))
    yield Attack("tools", "tools", dumped(chat(tools=[tool] * 513)))
    for name, one in {"stop": "x", "bad_words": "x", "stop_token_ids": 1}.items():
        yield Attack(f"many {name}", "stop_strings", dumped(chat(**{name: [one] * 257})))
    ids = dumped(chat(logprobs=True, logprob_token_ids=[1] * 129))
    yield Attack("many logprob_token_ids", "logprobs", ids)
    for title, opening in {"lists": "[]", "objects": "{}", "text": "{{"}.items():
        value = (
            '["' + opening * 70_000 + '"]'
            if title == "text"
            else f"[{opening}" + (f",{opening}" * 131_072 + "]")
        )
        raw = b'{"messages":[],"x":' + value.encode() + b"}"
        yield Attack(f"brackets: {title}", "brackets", raw)
    large = "x" * (4 * 2**20)
    for title, fields in {
        "a message": chat(messages=[{"role": "user", "content": large}]),
        "an unknown field": chat(x=large),
        "a key": chat(**{large: 1}),
        "text as an image": chat(
            messages=[
                {"role": "user", "content": [{"type": "text", "text": f"data:image/png,{large}"}]}
            ]
        ),
    }.items():
        yield Attack(f"text: {title}", "text_bytes", dumped(fields), 413)
    for title, raw in unread_texts().items():
        yield Attack(f"text: {title}", "text_bytes", raw, 413)
    prompt = dumped({"prompt": large})
    yield Attack("text: a prompt", "text_bytes", prompt, 413, COMPLETIONS)
    yield Attack("text: to count", "text_bytes", prompt, 413, "/tokenize")


def unread_texts() -> dict[str, bytes]:
    """Return bodies with few brackets that are long to read and large in memory."""
    return {
        "a million keys": b"{" + b",".join(b'"%x":1' % at for at in range(1_100_000)) + b"}",
        "a million texts": b'{"messages":[],"x":[' + b'"ab",' * 1_400_000 + b'""]}',
        "two million fractions": b'{"messages":[],"x":[' + b"1.5," * 2_100_000 + b"1]}",
        "four million numbers": b'{"messages":[],"x":[' + b"1," * 4_200_000 + b"1]}",
        "four million spaces": b'{"messages":[]' + b" " * 4_200_000 + b"}",
    }


def _constraints() -> Iterator[Attack]:
    for keyword in ("minItems", "maxItems", "minProperties", "maxProperties", "minContains"):
        for value in (20_001, 10**6, 1e6, "1000000", 10**400):
            schema = {"type": "array", "items": {"type": "string"}, keyword: value}
            for title, fields in _ways(schema):
                name = f"{keyword} {value!r:.9} in {title}"
                yield Attack(name, "repetitions", dumped(fields))
    nested: Any = {"type": "string"}
    for _ in range(4):
        nested = {"type": "array", "maxItems": 20, "items": nested}
    spread = {"properties": {f"x{at}": {"type": "array", "maxItems": 300} for at in range(70)}}
    for title, schema in {
        "nested": nested,
        "spread": spread,
        "a pattern": {"type": "string", "pattern": "^a{1,30000}$"},
        "nested groups": {"type": "string", "pattern": "^((a{1,30}){1,30}[(]){1,30}$"},
        "pattern properties": {"patternProperties": {"^a{30000}$": {}}},
        "behind a class": {"type": "string", "pattern": r"^[)\]]([a-z]{200}){200}$"},
    }.items():
        yield Attack(f"repetitions, {title}", "repetitions", dumped(_guided(json=schema)))
    for title, schema in _many_properties():
        for way, fields in _ways(schema):
            yield Attack(f"{title} in {way}", "repetitions", dumped(fields))
    for title, outputs in {
        "a regular expression": {"regex": "(a{1,200}){1,200}"},
        "a grammar": {"grammar": 'root ::= x{1000000}\nx ::= "a"'},
        "a grammar with a bracket": {"grammar": 'root ::= "[" x{1000000} "]"\nx ::= "a"'},
    }.items():
        yield Attack(f"repetitions in {title}", "repetitions", dumped(_guided(**outputs)))
    for keyword in ("minLength", "maxLength"):
        text = {"type": "object", "properties": {"x": {"type": "string", keyword: 10**9}}}
        yield Attack(keyword, "string_length", dumped(_guided(json=text)))
    large = "x" * 300_000
    sized: dict[str, dict[str, Any]] = {
        "json": {"json": {"const": large}},
        "json as text": {"json": json.dumps({"const": large})},
        "regex": {"regex": large},
        "grammar": {"grammar": large},
        "structural_tag": {"structural_tag": json.dumps({"x": large})},
        "choice": {"choice": [large]},
    }
    for title, constraint in sized.items():
        yield Attack(f"a large {title}", "schema_bytes", dumped(_guided(**constraint)))
    for count in (1025, 100_000):
        choices = [f"c{at}" for at in range(count)]
        yield Attack(f"choice of {count}", "guided_choices", dumped(_guided(choice=choices)))
        old = chat(guided_choice=choices)
        yield Attack(f"guided_choice of {count}", "guided_choices", dumped(old))
    unread = dumped(_guided(json='{"const":NaN}'))
    yield Attack("a schema as text with NaN", "not_json", unread)


def _many_properties() -> Iterator[tuple[str, Any]]:
    """Yield schemas of some kilobytes that xgrammar spells out for seconds."""

    def schema(count: int, one: Any, **fields: Any) -> dict[str, Any]:
        return {"type": "object", "properties": {f"k{at}": one for at in range(count)}, **fields}

    integer = {"type": "integer"}
    required = [f"k{at}" for at in range(500)]
    bounded = {"type": "number", "minimum": -1.2345678e17, "maximum": 9.87654321e17}
    yield "1,500 properties, at least 750", schema(1500, integer, minProperties=750)
    yield "1,000 properties, at least one", schema(1000, integer, minProperties=1)
    yield "800 properties, at most 400", schema(800, integer, maxProperties=400)
    yield "half of them required", schema(1000, integer, minProperties=750, required=required)
    row = schema(300, integer, minProperties=1)
    yield "a list of such objects", {"type": "array", "items": row}
    yield "2,000 numbers with bounds", schema(2000, bounded)
    yield "2,000 numbers with integer bounds", schema(2000, {"exclusiveMinimum": 10**17})


def _guided(**outputs: Any) -> dict[str, Any]:
    return chat(structured_outputs=outputs)


def _ways(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the fields that take a schema."""
    strict = {"name": "f", "parameters": schema, "strict": True}
    loose = {"name": "f", "parameters": schema}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    yield "response_format", chat(response_format=wrapped)
    yield "structured_outputs", _guided(json=schema)
    yield "a text", _guided(json=json.dumps(schema))
    yield "a strict tool", chat(tools=[{"type": "function", "function": strict}])
    tools = [{"type": "function", "function": loose}]
    yield "a required tool", chat(tools=tools, tool_choice="required")


def png(
    width: int,
    height: int,
    padding: int = 0,
    again: tuple[int, int] | None = None,
    texts: int = 0,
) -> bytes:
    """Return a PNG whose header claims so many pixels; its data has none.

    So many bytes of a private part precede the header's part, as Pillow allows. Behind it, another
    header and so many compressed texts of a megabyte each may follow.
    """

    def part(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    sizes = [(width, height), *([again] if again else [])]
    fields = [struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0) for size in sizes]
    header = b"".join(part(b"IHDR", one) for one in fields)
    text = part(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 10**6, 9))
    before = part(b"prVt", bytes(padding)) if padding else b""
    data = part(b"IDAT", zlib.compress(bytes(64)))
    return b"\x89PNG\r\n\x1a\n" + before + header + text * texts + data + part(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    """Return a GIF of this size."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00\x3b"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame


def jpeg(width: int, height: int, padding: int = 0) -> bytes:
    """Return the head of a JPEG of this size, behind so many bytes of other segments."""
    comments = b"\xff\xfe\xff\xff" + bytes(65_533)
    frame = b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return b"\xff\xd8" + comments * (padding // 65_537) + frame + scan + b"\xff\xd9"


def webp(width: int, height: int, kind: bytes = b"VP8L") -> bytes:
    """Return the head of a WEBP of this size: lossless, lossy or extended."""
    bits = (width - 1) | (height - 1) << 14
    canvas = (width - 1) | (height - 1) << 24
    data = {
        b"VP8L": b"\x2f" + struct.pack("<I", bits),
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
        b"VP8X": bytes(4) + canvas.to_bytes(6, "little"),
    }[kind] + bytes(11)
    chunk = kind + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def image_part(content: bytes, kind: str = "image/png", scheme: str = "data") -> dict[str, Any]:
    """Return the part of a message with an image."""
    url = f"{scheme}:{kind};base64,{base64.b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def with_parts(*parts: Any) -> dict[str, Any]:
    """Return a chat whose message has parts."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


def _images() -> Iterator[Attack]:
    side = 12_000
    for title, part in {
        "PNG": image_part(png(side, side)),
        "PNG of 178 million": image_part(png(13_000, 13_700)),
        "PNG of 10 ** 18": image_part(png(2**30, 2**30)),
        "one row": image_part(png(2**31 - 1, 1)),
        "PNG behind other parts": image_part(png(side, side, 200_000)),
        "GIF": image_part(gif(side, side)),
        "JPEG": image_part(jpeg(side, side)),
        "JPEG behind other segments": image_part(jpeg(side, side, 300_000)),
        "WEBP": image_part(webp(side, side)),
        "lossy WEBP": image_part(webp(side, side, b"VP8 ")),
        "extended WEBP": image_part(webp(side, side, b"VP8X")),
        "PNG with two headers": image_part(png(8, 8, again=(side, side))),
        "PNG with a small second header": image_part(png(side, side, again=(8, 8))),
        "PNG with compressed texts": image_part(png(side, side, texts=60)),
        "another media type": image_part(png(side, side), kind="image/jpeg"),
        "capitals": image_part(png(side, side), scheme="DATA"),
        "a space before": image_part(png(side, side), scheme=" data"),
        "an address as text": {
            "type": "image_url",
            "image_url": image_part(png(side, side))["image_url"]["url"],
        },
        "no type": {"image_url": image_part(png(side, side))["image_url"]},
    }.items():
        yield Attack(f"pixels: {title}", "image_pixels", dumped(with_parts(part)))
        counted = dumped(with_parts(part))
        yield Attack(f"pixels to count: {title}", "image_pixels", counted, path="/tokenize")
    ico = b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, 1000, 22) + png(side, side)
    small, text = png(8, 8), b"\0\0\0\3tEXtk\0v" + bytes(4)
    for title, content in {
        "nothing": b"",
        "no image": b"no image",
        "a cut PNG": png(8, 8)[:20],
        "an icon with a PNG": ico,
        "a JPEG with a million comments": b"\xff\xd8" + b"\xff\xfe\0\2" * 10**6 + jpeg(8, 8)[2:],
        "a JPEG of four million fill bytes": b"\xff\xd8" + b"\xff" * 4 * 10**6 + b"\xd9",
        "a JPEG behind two megabytes": jpeg(8, 8, 2 * 2**20),
        "a PNG with a hundred thousand texts": small[:33] + text * 10**5 + small[33:],
        "a GIF with a million comments": gif(8, 8)[:19] + b"\x21\xfe\1a\0" * 10**6 + gif(8, 8)[19:],
        "a portable pixmap": b"P6 12000 12000 255 ",
    }.items():
        yield Attack(f"no size: {title}", "image_format", dumped(with_parts(image_part(content))))
    for url in (
        *("file:///etc/passwd", "FILE:///etc/passwd", " file:/etc/passwd", "file:etc"),
        *("/etc/passwd", "ftp://images.example.com/a.png", "", "javascript:1"),
        *("https://images.example.com/a.png", "HTTP://169.254.169.254/", " http://[::1]/"),
    ):
        part = {"type": "image_url", "image_url": {"url": url}}
        yield Attack(f"an image at {url}", "image_url", dumped(with_parts(part)))
        counted = dumped(with_parts(part))
        yield Attack(f"an image to count at {url}", "image_url", counted, path="/tokenize")
    yield Attack("an image in percents", "image_format", dumped(with_parts(percents())))
    five = with_parts(*[image_part(png(5500, 5500))] * 5)
    yield Attack("pixels of five images", "total_image_pixels", dumped(five))
