"""The resources of a manifest file, which may have several documents and lists."""

from collections.abc import Callable, Iterator
from typing import IO, Any

import yaml

from mistral_operator.api.manifest import parse_manifest
from mistral_operator.api.resource import Resource
from mistral_operator.api.yaml_documents import yaml_documents
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND

_LISTS = ("List", f"{KIND}List")


class InvalidManifest(ValueError):
    """The file is not valid; the message says where and what to write."""


def read_resources(source: IO[str], name: str) -> list[Resource]:
    """Return every resource of a YAML file; objects of other kinds are skipped.

    Args:
        source: the file.
        name: of the file, for messages.

    Raises:
        InvalidManifest: the API server would reject the file, or it contains no resource.
    """
    return [_parsed(document, position) for position, document in _matching(source, name)]


def check_resources(
    source: IO[str], name: str, check: Callable[[Resource], None]
) -> tuple[int, list[str]]:
    """Return the number of resources in a YAML file, and what is wrong with each invalid one.

    Args:
        source: the file.
        name: of the file, for messages.
        check: is called with each resource that the API server accepts; raises InvalidResource.

    Raises:
        InvalidManifest: it is not YAML, or it contains no resource.
    """
    matching, problems = _matching(source, name), []
    for position, document in matching:
        try:
            _parsed(document, position, check)
        except InvalidManifest as error:
            problems.append(str(error))
    return len(matching), problems


def _matching(source: IO[str], name: str) -> list[tuple[str | None, dict[str, Any]]]:
    """Return every resource, with its position if there are several."""
    matching = [
        (position, document)
        for position, document in _objects(_documents(source, name))
        if document.get("kind") == KIND
    ]
    if not matching:
        raise InvalidManifest(
            f"{name} contains no {KIND}: set apiVersion: {API_VERSION} and kind: {KIND}"
        )
    return [(one if len(matching) > 1 else None, document) for one, document in matching]


def _documents(source: IO[str], name: str) -> list[Any]:
    try:
        return list(yaml_documents(source))
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"{name} is not UTF-8 text: {error}") from error
    except RecursionError as error:
        raise InvalidManifest(f"{name} is not YAML: it is nested too deeply") from error
    except yaml.YAMLError as error:
        raise InvalidManifest(f"{name} is not YAML: {error}") from error


def _objects(documents: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with its position in the file; a list is replaced by its items."""
    for number, document in enumerate(documents, 1):
        position = f"document {number}"
        if not isinstance(document, dict):
            continue
        if document.get("kind") not in _LISTS:
            yield position, document
            continue
        items = document.get("items")
        if items is not None and not isinstance(items, list):
            raise InvalidManifest(f"{position}: items must be a list")
        for index, item in enumerate(items or []):
            if isinstance(item, dict):
                yield f"{position}, items[{index}]", item


def _parsed(
    document: dict[str, Any],
    position: str | None,
    check: Callable[[Resource], None] = lambda _: None,
) -> Resource:
    """Parse one resource; the message names it if it is one of several."""
    try:
        resource = parse_manifest(document)
        check(resource)
    except InvalidResource as error:
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        label = name if isinstance(name, str) and name else position
        prefix = "" if position is None else f"{label}: "
        raise InvalidManifest(f"{prefix}{error}") from error
    return resource
