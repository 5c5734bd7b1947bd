"""The Lua of the router: which conversation a chat belongs to, as a header that Envoy hashes. Pure.

It adds a hash of the first message of a user, since that is the same in every turn. A system prompt
is not enough: one that all share would lead all of them to one replica.
"""

HEADER = "x-mistral-conversation"
"""Header with the hash. One of a client is removed."""

SESSION_HEADER = "x-session-id"
"""Header with which a client names its conversation."""

MAX_BODY = 1024 * 1024
"""Bytes of a body that is read. A larger one has images, and is not kept in memory to be read."""

_LENGTH = 256
"""Characters of the message that count."""

LUA = f"""\
function envoy_on_request(request)
  local headers = request:headers()
  headers:remove("{HEADER}")
  if headers:get(":method") ~= "POST" or headers:get("{SESSION_HEADER}") then return end
  local size = tonumber(headers:get("content-length") or "")
  if size == nil or size > {MAX_BODY} then return end
  local body = request:body()
  if body == nil then return end
  local text = body:getBytes(0, body:length())
  local first, last = string.find(text, '"role"%s*:%s*"user"')
  if first == nil then return end
  -- The message ends with a brace at the latest. After it come turns that are not there yet.
  local brace = string.find(text, "}}", last, true) or #text
  local message = string.sub(text, last + 1, math.min(brace - 1, last + {_LENGTH}))
  if string.find(message, "%S") == nil then
    -- The role is the last field.
    message = string.sub(text, math.max(1, first - {_LENGTH}), first - 1)
  end
  local hash = 5381
  for i = 1, #message do hash = (hash * 33 + string.byte(message, i)) % 4294967296 end
  -- Headers from before the body was read are gone.
  request:headers():add("{HEADER}", string.format("%.0f", hash))
end
"""
