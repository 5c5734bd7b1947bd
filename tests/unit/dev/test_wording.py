"""The word list: what it finds, where, and what it leaves alone."""

from pathlib import Path

import pytest

from mistral_dev import wording
from mistral_dev.paths import CHECKOUT
from mistral_dev.word_list import TERMS, Term
from mistral_dev.wording import find_all, in_code, in_text

FILE = Path("docs/some.md")

AVOIDED: dict[str, str] = {
    "lacks? of memory|want of memory": "Lacks of memory are counted",
    r"\b(?:sleeps?|slept|sleeping|asleep)\b": "it sleeps: the next request starts a replica",
    r"\bwho(?:ever| calls)\b": "whoever reaches the Service may use it",
    r"\b(?:stands?|standing|stood) by\b": "a replica that stands by",
    r"\bfor ever\b": "Generations that repeat themselves for ever",
    "quantis": "quantise the model",
    r"(?-i:\bMake the [A-Z]\w+)": "Make the Service.",
    r"\b(?:gpus?|images) a (?:replica|prompt)\b|\d a replica\b": "two GPUs a replica",
    r"fewest \w+ .{0,30}that may be set|that may be set\.": "Fewest images that may be set.",
    r"\b1 (?:gpus|replicas|pods|requests|ends|failures)\b": "1 GPUs",
    "swap or equal": "swap or equal them",
    "nothing ended of|nobody asked for": "KVPressure is one that nothing ended of",
    r"\b(?:an? |one |explained |the )ends? of (?:an? |the |its )?"
    r"(?:containers?|engines?|pods?|servers?)\b(?!')": "one end of a container, explained",
    r"\b(?:container|engine|pod|server)s? (?:has |have |had )?ended\b": "how a container ended",
    r"\b(?:asks?|asked|asking) for\b": "the replicas that the load asks for",
    r"\b(?:becomes?|became|become) of\b": "what became of the step",
}
"""An old sentence for some of the patterns."""


def findings(text: str) -> list[tuple[int, str]]:
    """Return line and words of each finding in a text."""
    return [(one.line, one.words) for one in in_text(FILE, text)]


def test_nothing_in_the_project_is_worded_so() -> None:
    assert [str(one) for one in find_all()] == []


@pytest.mark.parametrize(("pattern", "sentence"), AVOIDED.items(), ids=AVOIDED.values())
def test_an_old_sentence_is_reported_with_its_replacement(pattern: str, sentence: str) -> None:
    (term,) = (one for one in TERMS if one.pattern == pattern)

    assert term.instead in {one.instead for one in in_text(FILE, sentence)}


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.pattern)
def test_a_term_has_a_replacement_and_reasons_for_allowed_uses(term: Term) -> None:
    assert term.instead
    assert all(piece and reason for piece, reason in term.allowed)


def test_a_finding_names_file_line_words_and_remedy() -> None:
    (finding,) = in_text(FILE, "first\nit lasts\nfor ever\n")

    assert str(finding) == "docs/some.md:3: 'for ever': write forever, endlessly"


@pytest.mark.parametrize(
    "text", ["a lack\nof memory", "# a lack\n# of memory", "  # a lack of\n  # memory"]
)
def test_a_phrase_is_matched_across_lines_and_comments(text: str) -> None:
    assert [words.replace("# ", "") for _, words in findings(text)] == ["lack of memory"]


@pytest.mark.parametrize(
    "text", ["the reason `Asleep`", "see sleeping.yaml", "honestFinish", "the wake-up of a thread"]
)
def test_names_of_the_api_are_allowed(text: str) -> None:
    assert findings(text) == []


def test_a_phrase_before_a_value_is_found_in_code() -> None:
    source = 'raise ValueError(f"it begins with {count} replicas")\n'

    assert [one.words for one in in_code(FILE, source)] == ["begins with 0 replicas"]


def test_an_allowed_piece_does_not_cover_its_neighbor() -> None:
    assert findings("`Asleep`: it sleeps") == [(1, "sleeps")]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ('raise ValueError(f"{name} sleeps now")', 1, "sleeps"),
        ('raise ValueError(f"{first} for "\n                 f"ever {last}")', 1, "for ever"),
        ('log.info("first" +\n         "it lasts for ever")', 2, "for ever"),
        ('"""A module.\n\nIt sleeps.\n"""', 3, "sleeps"),
        ('LIMIT = 3\n"""It sleeps."""', 2, "sleeps"),
        ("x = 1  # it sleeps", 1, "sleeps"),
        ("x = 1\n# it lasts for\n# ever", 2, "for # ever"),
        ("def test_it_lasts_for_ever(): ...", 1, "for ever"),
        ("class PatientCluster: ...", 1, "Patient"),
    ],
    ids=[
        "a value before",
        "two pieces",
        "a sum",
        "a module",
        "an attribute",
        "a comment",
        "a comment of two lines",
        "the name of a test",
        "the name of a class",
    ],
)
def test_text_in_code_is_read(source: str, line: int, words: str) -> None:
    assert [(one.line, one.words) for one in in_code(FILE, source)] == [(line, words)]


@pytest.mark.parametrize(
    "source",
    ['STATE = "asleep"', "x = 1  # for\ny = 2\n# ever", "time.sleep(1)", 'f"{x:for} {y:ever}"'],
    ids=["a value", "two comments", "a call", "formats"],
)
def test_what_is_no_text_is_left_alone(source: str) -> None:
    assert in_code(FILE, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "told = 1",
        "def told(): ...",
        "class _Shelf: ...",
        "a.heard",
        "f(wanted=1)",
        "_BUSY_PATIENCE",
        "try: ...\nexcept OSError as told: ...",
        "match x:\n    case [told]: ...",
        "match x:\n    case [*told]: ...",
    ],
)
def test_an_avoided_name_is_reported(source: str) -> None:
    assert len(in_code(FILE, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from hypothesis import given\n\n@given(1)\ndef check(): ...",
        "from other import beat as told\ntold()",
    ],
)
def test_a_name_of_another_file_is_left_to_it(source: str) -> None:
    assert in_code(FILE, source) == []


def test_an_imported_name_does_not_hide_an_attribute() -> None:
    assert len(in_code(FILE, "from other import told\na.told")) == 1


def test_every_part_of_the_project_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "TERMS", (Term("the", "a"),))

    read = {one.path.parts[0] for one in find_all()}

    assert read >= {"operator", "server", "dev", "tests", "examples", "docs", "charts", "crds"}


def test_what_is_skipped_exists() -> None:
    assert [path for path in wording._SKIPPED if not (CHECKOUT / path).exists()] == []
