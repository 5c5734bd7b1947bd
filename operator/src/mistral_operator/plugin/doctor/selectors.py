"""Label selectors of Kubernetes, evaluated. Pure."""

from collections.abc import Mapping
from typing import Any

Labels = Mapping[str, str]


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Tell whether a selector selects an object; an empty one selects all."""
    expressions = selector.get("matchExpressions") or ()
    return all(
        labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()
    ) and all(_holds(one, labels) for one in expressions)


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def selector_text(selector: Mapping[str, Any]) -> str:
    """Return a selector in the form of kubectl."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        key, operator = one.get("key", ""), one.get("operator", "")
        parts.append(f"{key} {operator.lower()}" + (f" ({values})" if values else ""))
    return ",".join(parts)
