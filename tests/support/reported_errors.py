"""What vLLM 0.32 says of which request, and what clients get of it."""

from error_engine import BODY, MARK, ErrorEngine, schema, vllm
from mistral_server.gate.engine_errors import MAX_BODY_BYTES

REPORTED = {
    # what vLLM 0.32 says of which request: status, code, param, message
    "another model": (
        vllm("The model `gpt-4` does not exist. Valid aliases: tiny.", 404, "NotFoundError"),
        BODY,
        (404, "model_not_found", "model", "The model `gpt-4` does not exist. Valid aliases: tiny."),
    ),
    "a long prompt": (
        vllm(
            "This model's maximum context length is 2048 tokens. However, your prompt contains"
            " 10028 input tokens. (parameter=input_tokens, value=10028)",
            param="input_tokens",
        ),
        BODY,
        (
            *(400, "context_length_exceeded", "messages"),
            (
                "This model's maximum context length is 2048 tokens. However, your prompt contains"
                " 10028 input tokens."
            ),
        ),
    ),
    "a schema with a type that does not exist": (
        vllm(f"Grammar error: at 1(8): failed to compile JSON schema: Invalid type: text{MARK}"),
        schema({"type": "text"}),
        (
            *(400, "invalid_json_schema", "response_format.json_schema.schema"),
            "The JSON schema that constrains the response is not usable: Invalid type: text",
        ),
    ),
    "a tool whose parameters are no schema": (
        vllm("Invalid tool schema: 'text' is not valid under any of the given schemas"),
        {**BODY, "tools": [{"type": "function", "function": {"name": "f"}}]},
        (
            *(400, "invalid_json_schema", "tools"),
            (
                "The parameters of a tool are not a JSON schema: 'text' is not valid under any"
                " of the given schemas"
            ),
        ),
    ),
    "a regular expression": (
        vllm(
            'Grammar error: at 1(8): invalid regex "(a" (in regex): regex parse error:\n    (a\n'
            f"    ^\nerror: unclosed group{MARK}"
        ),
        {**BODY, "structured_outputs": {"regex": "(a"}},
        (
            *(400, "invalid_grammar", "structured_outputs"),
            (
                "The grammar or regular expression that constrains the response is not usable:"
                ' invalid regex "(a" (in regex): regex parse error:\n    (a\n    ^\n'
                "error: unclosed group"
            ),
        ),
    ),
    "an image with too many pixels": (
        vllm(
            "Image dimensions 12000x12000 (144000000 pixels) exceed the maximum of 33554432 pixels."
            " Set VLLM_MAX_IMAGE_PIXELS to increase this limit."
        ),
        BODY,
        (
            *(400, "limit_exceeded", "messages"),
            "An image has more than 33554432 pixels: send a smaller one.",
        ),
    ),
    "an image that Pillow does not open": (
        vllm(
            "Image size (900000000 pixels) exceeds limit of 178956970 pixels, could be"
            " decompression bomb DOS attack.",
            500,
            "InternalServerError",
        ),
        BODY,
        (
            *(400, "limit_exceeded", "messages"),
            "An image has far too many pixels: send a smaller one.",
        ),
    ),
    "too many images": (
        vllm("At most 2 image(s) may be provided in one prompt. (parameter=image)", param="image"),
        BODY,
        (
            *(400, "limit_exceeded", "messages"),
            "At most 2 image(s) may be provided in one prompt.",
        ),
    ),
    "the assistant last": (
        vllm("Cannot set `add_generation_prompt` to True when the last message is from the ..."),
        BODY,
        (
            *(400, "invalid_message_order", "messages"),
            (
                "The last message is from the assistant: end with one of the user or a tool, or set"
                " `continue_final_message` to true and `add_generation_prompt` to false."
            ),
        ),
    ),
    "a system message in the middle": (
        vllm("Unexpected role 'system' after role 'assistant'"),
        BODY,
        (
            *(400, "invalid_message_order", "messages"),
            (
                "The order of the messages is not one that the model knows: Unexpected role"
                " 'system' after role 'assistant'"
            ),
        ),
    ),
    "an empty answer in the history": (
        vllm("Invalid assistant message: role='assistant' content='' tool_calls=None prefix=False"),
        BODY,
        (
            *(400, "invalid_value", "messages"),
            "A message of the assistant has neither content nor tool_calls.",
        ),
    ),
    "another model's reasoning in the history": (
        vllm("Think not implemented for tokenizer < V13."),
        BODY,
        (
            *(400, "unsupported_value", "messages"),
            (
                "A message of the assistant has reasoning, for which the model has no format:"
                " remove `reasoning_content` and `reasoning`."
            ),
        ),
    ),
    "a tool message without content": (
        vllm("'content'"),
        BODY,
        (
            *(400, "missing_required_parameter", "messages"),
            "The request lacks a required field: content",
        ),
    ),
    "a missing field": (
        vllm(
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.messages', 'msg': 'Field"
            " required', 'input': '<dict of 3 items>'}",
            kind="Bad Request",
            param="body.messages",
        ),
        {},
        (400, "missing_required_parameter", "messages", "messages: Field required"),
    ),
    "fields of another type": (
        vllm(
            "2 validation errors:\n  {'type': 'string_type', 'loc': 'body.stop', 'msg': 'Input"
            " should be a valid string', 'input': '5'}\n  {'type': 'list_type', 'loc': 'body.stop',"
            " 'msg': \"It's no list\", 'input': '5'}",
            param="body.stop",
        ),
        BODY,
        (
            *(400, "invalid_value", "stop"),
            "stop: Input should be a valid string; stop: It's no list",
        ),
    ),
    "fields as vLLM 0.26 names them": (
        vllm(
            "1 validation error:\n  {'type': 'int_parsing', 'loc': ('body', 'tokens', 0), 'msg':"
            " 'Input should be a valid integer', 'input': 'a'}"
        ),
        BODY,
        (400, "invalid_value", "tokens[0]", "tokens[0]: Input should be a valid integer"),
    ),
    "names of classes are none of the request": (
        vllm(
            "1 validation error:\n  {'type': 'missing', 'loc': 'body.0.ToolCallParam.custom',"
            " 'msg': 'Field required', 'input': {}}",
            param="body.0.ToolCallParam.custom",
        ),
        BODY,
        (400, "missing_required_parameter", None, "Field required"),
    ),
    "a parameter": (
        vllm(
            "Requested sample logprobs of 50, which is greater than max allowed: 20"
            " (parameter=logprobs, value=50)",
            param="logprobs",
        ),
        BODY,
        (
            *(400, "invalid_value", "logprobs"),
            "Requested sample logprobs of 50, which is greater than max allowed: 20",
        ),
    ),
    "nothing known": (
        vllm("n must be at least 1, got 0."),
        BODY,
        (400, "invalid_request", None, "n must be at least 1, got 0."),
    ),
    "what is not implemented": (
        vllm("Not for this model", 501, "NotImplementedError"),
        BODY,
        (400, "invalid_request", None, "Not for this model"),
    ),
    "an encoding that is not implemented": (
        vllm("Only base64 data URLs are supported for now.", 501, "NotImplementedError"),
        BODY,
        (
            *(400, "invalid_base64", "messages"),
            "An image is not in base64: send a data: URL such as data:image/png;base64,iVBORw...",
        ),
    ),
    "a method": (
        ErrorEngine(405, b'{"detail":"Method Not Allowed"}', allow="POST"),
        BODY,
        (
            *(405, "method_not_supported", None),
            "POST is not supported for /v1/chat/completions: send POST.",
        ),
    ),
    "a path": (
        ErrorEngine(404, b'{"detail":"Not Found"}'),
        BODY,
        (404, "not_found", None, "/v1/chat/completions does not exist at this endpoint."),
    ),
    "a list as detail": (
        ErrorEngine(422, b'{"detail":[{"loc":[]}]}'),
        BODY,
        (422, "invalid_request", None, ""),
    ),
    "an error that is a text": (
        ErrorEngine(503, b'{"error":"The model is currently scaling."}'),
        BODY,
        (503, "overloaded", None, "The model is currently scaling."),
    ),
    "a full queue": (
        vllm("Too many requests", 429, "Too Many Requests"),
        BODY,
        (429, "rate_limit_exceeded", None, "Too many requests"),
    ),
    "the request in each of its errors": (
        ErrorEngine(400, b'{"error":{"code":400,"message":"%b"}}' % (b"x" * MAX_BODY_BYTES)),
        BODY,
        (400, "invalid_request", None, ""),
    ),
}
