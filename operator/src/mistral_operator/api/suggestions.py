"""Suggestions for unknown fields of a manifest: the field that was probably meant."""

import difflib
import re
from collections.abc import Iterable

from mistral_operator.api.absent_fields import advice
from mistral_operator.api.fields import FIELD_NAMES
from mistral_server.contract.engine_args import ALLOWED_ENGINE_ARGS, SETTING_OF_FLAG, canonical_flag

_MIN_SIMILARITY = 0.7
"""Minimum similarity of two names, from 0 to 1, for a suggestion."""

_SLIPS = {"kvCache.size": "spec.engine.kvCache.memory"}
"""Fields that exist under another name, by the last two parts of the path."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def hint(parent: str, key: str, fields: list[str]) -> str:
    """Return what to write instead of an unknown field, or an empty string.

    Args:
        parent: path of the object that has the key, without list indexes.
        key: the unknown key.
        fields: path of every field.
    """
    if instead := advice(parent, key):
        return f": {instead}"
    if (meant := _named_otherwise(parent, key)) is not None:
        return f"; did you mean {meant}?"
    flag = _flag(key)
    if flag in ALLOWED_ENGINE_ARGS:
        return f"; add {flag} to spec.engine.extraArgs"
    first, dot, rest = key.partition(".")
    if dot and first and rest and "/" not in key:
        return f"; nest it: write {rest} below {first}"
    nearest = _nearest(parent, key, fields)
    return f"; did you mean {nearest}?" if nearest else ""


def most_similar(name: str, names: Iterable[str]) -> str | None:
    """Return the most similar of some names, whatever their case."""
    lowered = {one.lower(): one for one in names}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=_MIN_SIMILARITY)
    return lowered[matches[0]] if matches else None


def shown_key(key: str) -> str:
    """Return a key as part of a path, in quotes if it could be misread."""
    return key if _PLAIN_KEY.fullmatch(key) else f'"{key}"'


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
    """Return the most similar field: a sibling, or else one elsewhere."""
    beside = {one.rpartition(".")[2]: one for one in fields if one.rpartition(".")[0] == parent}
    anywhere = {one.rpartition(".")[2]: one for one in reversed(fields)}
    for candidates in (beside, anywhere):
        if (similar := most_similar(name, candidates)) is not None:
            return candidates[similar]
    return None
