"""Decodes what the API server sends. Pure.

msgspec takes a fourth of the time of Python's own decoder, and skips fields that a type does not
have: the largest part of an object's metadata is the list of its field managers.
"""

import re
from typing import Annotated, Any, Generic, NotRequired, TypedDict, TypeVar

import msgspec

T = TypeVar("T")

Version = Annotated[str, msgspec.Meta(pattern="^[0-9]+$", max_length=20)]
"""A resource version, which the operator compares as a number."""


LONGEST_TEXT = 8 * 1024 * 1024
"""Bytes of a text that are read. 5,000 lines of a log have about 1 MiB."""


class NotADocument(ValueError):
    """The text is not what the API server sends: not JSON, or another document."""


class WatchEvent(msgspec.Struct):
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: dict[str, Any]

    @property
    def version(self) -> int:
        """The resource version of the object; a BOOKMARK has little else.

        Raises:
            NotADocument: it has none, or it is no object with a name.
        """
        metadata = self.object.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not isinstance(version, str) or not version.isdecimal():
            raise NotADocument("an event without a resource version")
        if self.type != "BOOKMARK" and "name" not in self.object["metadata"]:
            raise NotADocument("an event about an object without a name")
        return int(version)


class Metadata(TypedDict):
    """The metadata of an object, as far as a sweep reads it."""

    name: str
    namespace: NotRequired[str]
    uid: NotRequired[str]
    resourceVersion: Version
    labels: NotRequired[dict[str, str]]


class ObjectMetadata(TypedDict):
    """An object of which only the metadata was requested."""

    metadata: Metadata


ListMetadata = TypedDict("ListMetadata", {"resourceVersion": Version, "continue": NotRequired[str]})


class MetadataList(TypedDict):
    """A page of a list of metadata."""

    metadata: ListMetadata
    items: list[ObjectMetadata] | None


class ObjectList(TypedDict):
    """A page of a list."""

    metadata: ListMetadata
    items: list[dict[str, Any]] | None


class ServedKind(TypedDict):
    """A kind that the API server serves."""

    name: str


class ServedKinds(TypedDict):
    """The kinds of a group."""

    resources: list[ServedKind]


_DEEPEST = 100
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
"""A text, whose brackets mean nothing, or a bracket."""


def shallow(text: bytes | str) -> bytes:
    """Return a document in which values that are nested deeper than 100 levels are null.

    Anyone who may update an object can nest `metadata.managedFields` thousands of levels deep.
    Decoders stop at some 1,000, and one object must not hide the others of a list.
    """
    encoded = text.encode() if isinstance(text, str) else bytes(text)
    parts, kept, depth = list[bytes](), 0, 0
    for token in _TOKEN.finditer(encoded):
        if token[0] in {b"[", b"{"}:
            depth += 1
            if depth == _DEEPEST:
                parts += [encoded[kept : token.start()], b"null"]
        elif token[0] in {b"]", b"}"}:
            if depth == _DEEPEST:
                kept = token.end()
            depth -= 1
    return b"".join((*parts, encoded[kept:]))


class Decoder(Generic[T]):
    """Decodes documents of one type.

    Args:
        type_: what a document is decoded to.
    """

    longest: int | None = None
    """Bytes of a response that are read; the rest is dropped. All if None."""

    def __init__(self, type_: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(type_)

    def __call__(self, text: bytes | str) -> T:
        """Decode a document.

        Raises:
            NotADocument: the text is something else.
        """
        try:
            try:
                return self._decoder.decode(text)
            except RecursionError:
                return self._decoder.decode(shallow(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotADocument(str(error)) from error


class LiveObjectDecoder(Decoder[dict[str, Any]]):
    """Decodes objects, which have a name and a version."""

    def __call__(self, text: bytes | str) -> dict[str, Any]:
        """Decode an object.

        Raises:
            NotADocument: the text is something else.
        """
        decoded = super().__call__(text)
        metadata = decoded.get("metadata")
        if not isinstance(metadata, dict) or not {"name", "resourceVersion"} <= metadata.keys():
            raise NotADocument("an object without a name or a version")
        return decoded


class TextDecoder(Decoder[dict[str, Any]]):
    """Passes on what is no document of the API server, such as a log, in the field `text`.

    A tenant chooses what a pod answers and logs, and both may be without an end.
    """

    longest = LONGEST_TEXT

    def __call__(self, text: bytes | str) -> dict[str, Any]:
        """Return the text."""
        return {"text": text if isinstance(text, str) else text.decode(errors="replace")}


TEXT = TextDecoder(dict[str, Any])
OBJECT: Decoder[dict[str, Any]] = Decoder(dict[str, Any])
LIVE_OBJECT = LiveObjectDecoder(dict[str, Any])
WATCH_EVENT = Decoder(WatchEvent)
# To plain objects, as all are.
METADATA_LIST: Decoder[dict[str, Any]] = Decoder(MetadataList)  # type: ignore[arg-type]
OBJECT_LIST: Decoder[dict[str, Any]] = Decoder(ObjectList)  # type: ignore[arg-type]
SERVED_KINDS: Decoder[dict[str, Any]] = Decoder(ServedKinds)  # type: ignore[arg-type]
