"""The word list: terms that texts avoid and names that code avoids, with better ones.

`wording` applies it. Add a term here when a reader stumbled over it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A term to avoid.

    Args:
        pattern: of a regular expression; case is ignored, and a space matches a line break.
        instead: what to write.
        allowed: exact pieces of text around a match that are fine, each with its reason.
    """

    pattern: str
    instead: str
    allowed: tuple[tuple[str, str], ...] = ()


_ASLEEP = ("Asleep", "the condition reason, which is API")

TERMS: tuple[Term, ...] = (
    Term(r"lacks? of memory|want of memory", "out-of-memory failure, memory failure"),
    Term(r"ends of the engine|ends in a row|ends with CudaOom", "exits, failures"),
    Term(
        r"\b(?:an? |one |explained |the )ends? of (?:an? |the |its )?"
        r"(?:containers?|engines?|pods?|servers?)\b(?!')",
        "exit, failure",
    ),
    Term(r"\b(?:container|engine|pod|server)s? (?:has |have |had )?ended\b", "exited, failed"),
    Term(
        r"\b(?:sleeps?|slept|sleeping|asleep)\b",
        "scaled to zero",
        (
            _ASLEEP,
            ("sleeping.yaml", "the name of an example"),
            ("name: sleeping", "the name of an endpoint in it"),
            ("sleeping gives", "the beginning of its test"),
            ("time.sleep", "of Python"),
            ("`sleep NAME`", "a command that explains"),
            ("sleep command", "its function"),
            ("io.sleep", "of asyncio"),
            ("exec sleep", "of the shell"),
            ("\nsleep 0.5", "of the shell"),
        ),
    ),
    Term(
        r"\b(?:wakes?|woken|woke|waking)\b(?!-)",
        "scale from zero, start",
        (("`wake NAME`", "a command that explains"), ("wake command", "its function")),
    ),
    Term(r"\b(?:held requests?|requests? (?:that )?(?:is|are) held)\b", "queued request"),
    Term(r"copies (?:from which|and \d)|(?:\d+|that the|these) copies\b", "repetitions"),
    Term(
        r"silent pods?|pods? (?:is|are) silent|says? what (?:it|they) (?:does|do)\b",
        "reported load, pods without a load report",
    ),
    Term(r"\bwho(?:ever| calls)\b", "the client, anyone who"),
    Term(r"\bhonest(?:y|ly)?\b", "accurate"),
    Term(r"\b(?:stands?|standing|stood) by\b", "standby replica"),
    Term(r"\b(?:stands?|standing|stood) in for\b", "override, serve in place of"),
    Term(r"\b(?:some|no|any|every)body\b", "the actor by name, anyone, another owner"),
    Term(r"\bpatien(?:t|tly|ce)\b", "retry, timeout"),
    Term(r"\bfor ever\b", "forever, endlessly"),
    Term(r"quantis", "quantiz..."),
    Term(r"in the way of requests", "on the request path"),
    Term(r"the last word\b", "the last reported value"),
    Term(r"operator (?:that )?(?:is|may be) away", "while the operator is down"),
    Term(r"without a hand\b", "automatically"),
    Term(r"\bastray\b", "redirect"),
    Term(r"\b(?:fewest|most) replicas\.|largest request\.", "minimum, maximum"),
    Term(r"least level|shape of a line", "minimum log level, log format"),
    Term(r"(?-i:\bMake the [A-Z]\w+)", "create the ..."),
    Term(r"# rights\.", "RBAC."),
    Term(r"between two looks|two looks", "polling interval"),
    Term(r"a quarter of an hour|a minute and a half\b", "15 minutes, 90 seconds"),
    Term(r"will not mend", "will not resolve by itself"),
    Term(r"belongs into", "use the field, belongs in"),
    Term(r"swap or equal", "make the minimum no larger than the maximum"),
    Term(r"what is changed stands", "the changes are recorded"),
    Term(r"they stand in vllm|stand in vllm's", "are exposed on"),
    Term(r"has a class\b", "is classified"),
    Term(r"\b(?:gpus?|images) a (?:replica|prompt)\b|\d a replica\b", "per replica, per prompt"),
    Term(r"reach nothing that", "can reach only"),
    Term(r"\bof yours\b", "your own"),
    Term(r"believes that", "assumes that"),
    Term(r"no whole numbers", "not whole numbers"),
    Term(r"idle is what", "an endpoint is idle when"),
    Term(r"begins with \d+ replicas", "starting with ..."),
    Term(r"\b1 (?:gpus|replicas|pods|requests|ends|failures)\b", "the singular"),
    Term(r"no lack of|nothing is left to do", "none seen, the rollout is complete"),
    Term(r"nothing is asked of", "all replicas are idle"),
    Term(
        r"\b(?:asks?|asked|asking) for\b",
        "request, need",
        (("pods ask for the token", "a comment of the chart, which golden files have"),),
    ),
    Term(r"something else keeps writing", "another controller keeps changing"),
    Term(r"what the model'?s files hold decides", "it depends on the checkpoint"),
    Term(r"weights of \d+ bits", "16-bit weights"),
    Term(r"nothing ended of|nobody asked for", "does not terminate, unexpected"),
    Term(r"leader that says nothing|silent leader", "seconds without renewal"),
    Term(r"fewest \w+ .{0,30}that may be set|that may be set\.", "lower limit for ..."),
    Term(r"that are looked back on", "stabilization window"),
    Term(r"said of; what was tried", "belong to; reset when"),
    Term(r"bring none of their own", "do not provide one"),
    Term(r"\b(?:becomes?|became|become) of\b", "how ... is handled, the outcome of"),
    Term(r"none is asked for", "no authentication"),
    Term(r"say `length` where", "report finish reason `length` when"),
    Term(r"cannot be looked into before", "is known only once"),
    Term(r"somewhat of its own accord", "automatically"),
)
"""For text: of users, and in code."""

IDENTIFIERS: dict[str, str] = {
    "Circumstances": "Inputs",
    "Doors": "Listeners",
    "Look": "LoadSample",
    "NamespaceLeaving": "NamespaceTerminating",
    "Reading": "LoadReading",
    "Shelf": "an index",
    "Situation": "StatusInput",
    "World": "Dependencies",
    "account": "record",
    "asked": "desired, requested",
    "beat": "heartbeat",
    "bid_farewell": "on_pod_deleted",
    "books": "history",
    "bury": "tombstone",
    "busy_patience": "busy_retries",
    "calm": "mark_resolved",
    "drop_unseen": "delete_missing",
    "found": "match, result",
    "given": "inputs",
    "going": "terminating",
    "heard": "reported",
    "is_waited_out": "should_retry_unchanged",
    "judge": "evaluate",
    "judged": "evaluated, results",
    "known": "registered, recorded",
    "learnt": "learned, stored",
    "leaving": "terminating",
    "over_budget": "limit_exceeded",
    "overlook_generators": "ignore_generator_close_errors",
    "patiently": "a name with retry",
    "place": "slot",
    "retreat": "revert_all",
    "said": "message, report",
    "saw": "on_event",
    "swept": "replace",
    "takes_for_ever": "takes_too_long",
    "told": "reported",
    "treat": "remediate",
    "wanted": "desired",
}
"""Names that code avoids, with better ones; leading underscores and the case of constants aside."""
