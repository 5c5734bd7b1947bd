"""Suggestions for unknown fields of a manifest: the field that was probably meant."""

import difflib
import re
from collections.abc import Iterable

from mistral_operator.api.absent_fields import advice
from mistral_operator.api.fields import FIELD_NAMES
from mistral_server.contract.engine_args import ALLOWED_ENGINE_ARGS, SETTING_OF_FLAG, canonical_flag

_MIN_SIMILARITY = 0.7
"""Minimum similarity of two names, from 0 to 1, for a suggestion."""

_ELSEWHERE = 0.85
"""The same for a field of another object, such that `policy` is not suggested for `dnsPolicy`, and
for a typing error, which comes before a field of this name elsewhere."""

_FEW = 8
"""Up to so many fields of an object are listed if none of them is near."""

_SLIPS = {
    "kvCache.size": "spec.engine.kvCache.memory",
    "kvOffload.memory": "spec.engine.kvOffload.size",
}
"""Fields that exist under another name, by the last two parts of the path."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def hint(parent: str, key: str, fields: list[str]) -> str:
    """Return what to write instead of an unknown field, or which fields there are.

    It is an empty string if nothing is near and there are many fields.

    Args:
        parent: path of the object that has the key, without list indexes.
        key: the unknown key.
        fields: path of every field.
    """
    if instead := advice(parent, key):
        return f": {instead}"
    beside = [one for one in fields if one.rpartition(".")[0] == parent]
    written = [one for one in beside if _plain(one.rpartition(".")[2]) == _plain(key)]
    meant = written[0] if written else _named_otherwise(parent, key)
    if meant is not None:
        return f"; did you mean {meant}?"
    flag = _flag(key)
    if flag in ALLOWED_ENGINE_ARGS:
        return f"; add {flag} to spec.engine.extraArgs"
    first, dot, rest = key.partition(".")
    if dot and first and rest and "/" not in key:
        return f"; nest it: write {rest} below {first}"
    if nearest := _nearest(parent, key, fields):
        return f"; did you mean {nearest}?"
    return _list_of(parent, beside)


def most_similar(name: str, names: Iterable[str], cutoff: float = _MIN_SIMILARITY) -> str | None:
    """Return the most similar of some names, whatever their case."""
    lowered = {one.lower(): one for one in names}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[matches[0]] if matches else None


def shown_key(key: str) -> str:
    """Return a key as part of a path, in quotes if it could be misread."""
    return key if _PLAIN_KEY.fullmatch(key) else f'"{key}"'


def _list_of(parent: str, beside: list[str]) -> str:
    names = [one.rpartition(".")[2] for one in beside]
    if not parent or not 0 < len(names) <= _FEW:
        return ""
    if len(names) == 1:
        return f"; the only field of {parent} is {names[0]}"
    return f"; the fields of {parent} are {', '.join(names[:-1])} and {names[-1]}"


def _named_otherwise(parent: str, key: str) -> str | None:
    """Return the field that has another name, such as that of vLLM."""
    if (slip := _SLIPS.get(f"{parent.rpartition('.')[2]}.{key}")) is not None:
        return slip
    setting = SETTING_OF_FLAG.get(_flag(key))
    return None if setting is None else FIELD_NAMES[setting]


def _flag(key: str) -> str:
    """Return vLLM's flag for a key: --max-num-seqs for maxNumSeqs and max_num_seqs."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", key.lstrip("-"))
    return canonical_flag(f"--{words.lower()}")


def _nearest(parent: str, name: str, fields: list[str]) -> str | None:
    """Return what was probably meant: one field, or two that are as likely.

    A field of this very name says more than a similar one, and one below the object more than one
    elsewhere.
    """
    beside = {one.rpartition(".")[2]: one for one in fields if one.rpartition(".")[0] == parent}
    named = [one for one in fields if _plain(one.rpartition(".")[2]) == _plain(name)]
    below = [one for one in named if one.startswith(f"{parent}.")]
    highest = min((one.count(".") for one in below), default=0)
    nearest = [one for one in below if one.count(".") == highest]
    for exact in ([one for one in named if one in beside.values()], nearest):
        if 0 < len(exact) < 3:
            return " or ".join(exact)
    typing_error = most_similar(name, beside, _ELSEWHERE)
    if typing_error is None and len(named) == 1:
        return named[0]
    similar = typing_error or most_similar(name, beside)
    if similar is not None:
        return beside[similar]
    elsewhere = most_similar(name, {one.rpartition(".")[2] for one in fields}, _ELSEWHERE)
    places = [one for one in fields if one.rpartition(".")[2] == elsewhere]
    return places[0] if len(places) == 1 else None


def _plain(name: str) -> str:
    """Return a name without what differs between tools: case, underscores and hyphens."""
    return re.sub("[_-]", "", name.lower())
