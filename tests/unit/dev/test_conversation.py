"""The demo prints what came back on one line each, whatever the random weights wrote."""

import pytest

from mistral_dev.conversation import call_text


@pytest.mark.parametrize("arguments", ["{}", "{\n\n}", ' {"zone" :\n "UTC"}'])
def test_a_tool_call_is_printed_on_one_line(arguments: str) -> None:
    text = call_text("get_time", arguments)

    assert text in {"get_time({})", 'get_time({"zone": "UTC"})'}
