"""Whatever a resource or a pod says: a clear message, or an endpoint within bounds."""

import json

import jsonschema_rs
import pytest

from builders import CONTEXT, NOW, deployment_body, ready_pod, resource_body
from document_texts import texts
from hostile_resources import hostile_signals, hostile_specs
from mistral_operator.api import Status, parse_resource, parse_status
from mistral_operator.api.crd import resource_schema
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import children
from mistral_operator.status import report
from mistral_operator.status.conditions import shortened
from mistral_operator.status.events import transition_events
from mistral_server.contract import SignalDocument
from scaling_operator import KEY, Operator
from status_inputs import status_input, with_signals

STATUS = jsonschema_rs.validator_for(resource_schema()["properties"]["status"])
"""What the API server takes: a status that it refuses stays as it was."""
SPECS = dict(hostile_specs())
SIGNALS = dict(hostile_signals())
BY_FIELD: dict[str, list[str]] = {}
for _name in SPECS:
    BY_FIELD.setdefault(_name.rpartition("-")[0], []).append(_name)


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(SPECS) >= 200
    assert len(SIGNALS) >= 50


@pytest.mark.parametrize("field", BY_FIELD)
def test_a_hostile_field_is_rejected_with_a_sentence_or_rendered_within_bounds(field: str) -> None:
    for name in BY_FIELD[field]:
        body = {**resource_body(), "spec": SPECS[name]}
        try:
            resource = parse_resource(body)
        except InvalidResource as error:
            message = shortened(str(error))
            assert message.startswith("spec"), name
            assert len(message) <= 1024, name
            assert message.isprintable(), name
            continue
        encoded = json.dumps(children(resource, CONTEXT))
        assert len(encoded) < 200_000, name
        rendered = list(texts(json.loads(encoded)))
        assert len(rendered) > 100, name
        for text in rendered:
            assert text.isprintable(), (name, text[:100])
            # No path in a pod comes from the value of an annotation.
            assert "nnotations." in field or ".." not in text.split("/"), (name, text[:100])


@pytest.mark.parametrize("name", SIGNALS)
def test_hostile_signals_are_read_within_bounds_or_not_at_all(name: str) -> None:
    try:
        document = SignalDocument.read(SIGNALS[name])
    except ValueError:
        return
    inputs = with_signals(
        status_input(ready_pod(), deployment=deployment_body(ready=1)), small_1=document
    )
    status = report(inputs, NOW)
    events = transition_events(inputs.resource, Status(), status, NOW)
    content = status.model_dump(by_alias=True, exclude_none=True)

    assert parse_status(content) == (status, True)
    assert [one.message for one in STATUS.iter_errors(json.loads(json.dumps(content)))] == []
    assert len(json.dumps([content, events])) < 50_000
    for text in texts(json.loads(json.dumps([content, events]))):
        assert text.isprintable()
        assert "canary" not in text


def test_autoscaling_survives_every_hostile_answer() -> None:
    operator = Operator()
    operator.reconcile()
    for name, answer in SIGNALS.items():
        try:
            document = SignalDocument.read(answer)
        except ValueError:
            continue
        operator.hear()
        operator.line().document = document
        operator.now += 15
        operator.scaler.look_at_all()
        reported = operator.reconcile()
        assert reported is not None, name
        assert 1 <= reported.replicas <= 8, name
        assert operator.scaler.collector.decisions[KEY] is not None
