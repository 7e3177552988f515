-- Messages of HTTP/1.1 out of the bytes that Wireshark's dissector of HTTP has put together, and the headers of
-- MS-PCCRTP.

local MAX_HEAD = 65536
local MAX_HEADER_SIZE, MAX_HEADER_ELEMENTS = 8192, 64
local ENDS = "the connection or the capture ends before it does"
local PEERDIST, PEERDIST_EX = "X-P2P-PeerDist", "X-P2P-PeerDistEx"
local METHODS = { GET = true, POST = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, CONNECT = true,
  PATCH = true }

local trim = basic.trim_http

-- Whether bytes begin like a message.
function http.begins(s)
  return http.begins_answer(s) or METHODS[s:match("^(%u+) ") or ""] == true
end

-- Whether bytes begin like an answer.
function http.begins_answer(s)
  return s:find("^HTTP/1%.") ~= nil
end

-- The head at the start of `s`: { method, target, http_1_1 } or { status }, with lines of { offset, name, value } and
-- its size; nil where there is none.
function http.head(s)
  local _, stop = s:find("\r\n\r\n", 1, true)
  if not stop or stop > MAX_HEAD then
    return nil
  end
  local head = { size = stop, lines = {} }
  local first, at = s:match("^([^\r\n]*)\r?\n()")
  if not first then
    return nil
  end
  local status = first:match("^HTTP/1%.[01] (%d%d%d)$") or first:match("^HTTP/1%.[01] (%d%d%d) ")
  if status then
    head.status = tonumber(status)
  else
    local method, target, minor = first:match("^(%u+) (%S+) HTTP/1%.([01])$")
    if not METHODS[method or ""] then
      return nil
    end
    head.method, head.target, head.http_1_1 = method, target, minor == "1"
  end
  while at < stop - 1 do
    local line, after = s:match("^([^\r\n]*)\r?\n()", at)
    local name, value = (line or ""):match("^([^%s:]+):(.*)$")
    if not name then
      return nil
    end
    head.lines[#head.lines + 1] = { offset = at - 1, name = name, value = trim(value) }
    at = after
  end
  return head
end

-- The values of all lines of a header, names compared without regard to case.
local function lines(head, name)
  local found = {}
  for _, line in ipairs(head.lines) do
    if line.name:lower() == name:lower() then
      found[#found + 1] = line.value
    end
  end
  return found
end

local function split(text)
  local parts = {}
  for part in (text .. ","):gmatch("([^,]*),") do
    parts[#parts + 1] = part
  end
  return parts
end

-- Whether a list header names this token.
function http.lists(head, name, token)
  for _, value in ipairs(lines(head, name)) do
    for _, part in ipairs(split(value)) do
      if trim(part):lower() == token then
        return true
      end
    end
  end
  return false
end

local function decode_chunks(s)
  local parts, at = {}, 1
  while true do
    local line, after = s:match("^([^\n]*)\n()", at)
    if not line then
      return table.concat(parts), ENDS
    end
    local digits = trim(line:gsub("\r$", ""):match("^[^;]*"))
    local size = #digits <= 8 and digits:find("^%x+$") and tonumber(digits, 16)
    if not size then
      return table.concat(parts), "the chunks of the body are badly formed"
    elseif size == 0 then
      return table.concat(parts), nil
    end
    parts[#parts + 1] = s:sub(after, after + size - 1)
    if after + size - 1 > #s then
      return table.concat(parts), ENDS
    end
    at = s:match("^\r?\n()", after + size)
    if not at then
      return table.concat(parts), "the chunks of the body are badly formed"
    end
  end
end

local function content_length(head)
  local length = lines(head, "Content-Length")[1]
  return length and tonumber((trim(length):match("^%+?(%d+)$")))
end

-- The size of a message, as far as its head says it.
function http.size(head)
  return head.size + (content_length(head) or 0)
end

-- The body behind a head: its bytes, why they are not all, and where they stand: "behind" the head in `s`, in
-- "data", which is what Wireshark has taken for the body, or nowhere as they are.
function http.body(s, head, data)
  local length = content_length(head)
  if #s <= head.size and data then
    return data, length and #data < length and ENDS or nil, "data"
  elseif http.lists(head, "Transfer-Encoding", "chunked") then
    return decode_chunks(s:sub(head.size + 1))
  elseif not length then
    return head.status and s:sub(head.size + 1) or "", nil, "behind"
  end
  local body = s:sub(head.size + 1, head.size + length)
  return body, #body < length and ENDS or nil, "behind"
end

-- Whether a body that Wireshark has found at an offset can be the one of a head there.
function http.owns(head, head_offset, data_offset)
  if http.lists(head, "Transfer-Encoding", "chunked") then
    return data_offset == 0
  end
  return data_offset == head_offset + head.size and content_length(head) ~= 0
end

-- The path of a request target, which may be a whole URL, in lower case and without the slash at its end.
function http.path(target)
  local rest = target:match("^.-://(.*)$")
  target = rest and (rest:match("/.*$") or "/") or target
  return (target:match("^[^?]*"):lower():gsub("/$", ""))
end

local NAMES = {}
for _, name in ipairs(facts.shown_headers) do
  NAMES[name:lower()] = name
end
local PARAMETERS = {}
for _, name in ipairs(facts.header_parameters) do
  PARAMETERS[name:lower()] = name
end

local function parameters(line)
  local found, at = {}, line.offset + #line.name + 2
  for _, element in ipairs(split(line.value)) do
    local name, value = element:match("^([^=]*)=(.*)$")
    local known = PARAMETERS[trim(name or element):lower()]
    if known then
      local node = {
        name = known, kind = "text", value = trim(value or ""), offset = at, size = #element, prefix = "pccrtp",
      }
      found[#found + 1] = known == "ContentLength" and discovery.as_number(node) or node
    end
    at = at + #element + 1
  end
  return found
end

-- The elements of a list header without the empty ones; nil where it is too long.
local function elements(head, name)
  local size, found = 0, {}
  for _, line in ipairs(lines(head, name)) do
    size = size + #line
    if size > MAX_HEADER_SIZE then
      return nil
    end
    for _, element in ipairs(split(line)) do
      element = trim(element)
      if element ~= "" then
        if #found == MAX_HEADER_ELEMENTS then
          return nil
        end
        found[#found + 1] = element
      end
    end
  end
  return found
end

local function digits(text)
  return #text <= 19 and text:find("^%d+$") and basic.decimal(text) or nil
end

local function version(text)
  local major, minor = text:match("^([^.]*)%.(.*)$")
  major, minor = major and digits(major), minor and digits(minor)
  local most = UInt64.new(0xffffffff)
  if major and minor and major <= most and minor <= most then
    return basic.text(major:tonumber()) .. "." .. basic.text(minor:tonumber())
  end
end

local function boolean(text)
  text = text:lower()
  return (text == "true" or text == "false") and text or nil
end

local READERS = {
  version = version, contentlength = function(text) return digits(text) and tostring(digits(text)) end,
  missingdatarequest = boolean, mincontentinformation = version, maxcontentinformation = version,
  makehashrequest = boolean, hashrequest = boolean,
}

-- The parameters of one of the two headers, in lower case: their values as text, or false where they are there with no
-- value of their type, or with two. nil where the header is too long.
local function read_parameters(head, header, names)
  local found, all = {}, elements(head, header)
  for _, element in ipairs(all or {}) do
    local name, value = element:match("^([^=]*)=(.*)$")
    name = trim(name or element):lower()
    if names[name] then
      local read = READERS[name](trim(value or "")) or false
      if found[name] == nil or found[name] == read then
        found[name] = read
      else
        found[name] = false
      end
    end
  end
  return all and found
end

local OWN = { version = true, contentlength = true, missingdatarequest = true }
local OWN_EX = {
  mincontentinformation = true, maxcontentinformation = true, makehashrequest = true, hashrequest = true,
}

local function parts_of(version)
  local major, minor = version:match("^(%d+)%.(%d+)$")
  return tonumber(major), tonumber(minor)
end

-- Whether `q=…` is a weight above 0 (RFC 9110 12.4.2).
local function is_positive(weight)
  local name, value = weight:match("^([^=]*)=(.*)$")
  if not name or trim(name):lower() ~= "q" then
    return false
  end
  local whole, fraction = trim(value):match("^([^.]*)%.?(.*)$")
  if #fraction > 3 or fraction:find("%D") then
    return false
  end
  local zeros = not fraction:find("[^0]")
  return (whole == "0" and not zeros) or (whole == "1" and zeros)
end

-- Whether Accept-Encoding lists the coding: "none", "no", "yes"; nil where it is too long.
local function acceptance(head)
  if #lines(head, "Accept-Encoding") == 0 then
    return "none"
  end
  local all, found = elements(head, "Accept-Encoding"), "no"
  for _, element in ipairs(all or {}) do
    local coding, weight = element:match("^([^;]*);(.*)$")
    if trim(coding or element):lower() == "peerdist" then
      if weight and not is_positive(weight) then
        return "no"
      end
      found = "yes"
    end
  end
  return all and found
end

-- Which versions of content information a request takes, or nil.
local function content_versions(own, ex)
  local least, most = ex.mincontentinformation, ex.maxcontentinformation
  local is_v1 = (least == nil and most == nil) or (least == "1.0" and most == "1.0")
  local is_both = least == "1.0" and most == "2.0"
  local is_v2 = least == "2.0" and most == "2.0"
  local _, minor = parts_of(own.version)
  return is_v1 or is_both or (is_v2 and minor >= 1)
end

-- What keeps a server from taking a request's headers at their word (MS-PCCRTP 3.2.5.1), or nil.
local function request_fault(head, offers)
  if head.method ~= "GET" then
    return nil
  end
  local own = read_parameters(head, PEERDIST, OWN)
  if not own then
    return "a header is too long"
  elseif own.missingdatarequest == "true" then
    return offers and "MissingDataRequest together with peerdist in Accept-Encoding" or nil
  elseif own.missingdatarequest == false then
    return "MissingDataRequest is neither true nor false"
  end
  local ex = read_parameters(head, PEERDIST_EX, OWN_EX)
  local accepted = ex and acceptance(head)
  if not accepted then
    return "a header is too long"
  elseif accepted == "no" or (accepted == "none" and ex.hashrequest ~= "true") or not head.http_1_1 then
    return nil
  elseif own.version == nil then
    return "X-P2P-PeerDist has no Version"
  elseif own.version == false or parts_of(own.version) ~= 1 then
    return "the PeerDist version is not supported"
  elseif not content_versions(own, ex) then
    return "the versions of content information are not supported"
  end
end

-- First and last byte of a Content-Range, or nil.
local function content_range(head)
  local values = lines(head, "Content-Range")
  for _, value in ipairs(values) do
    if trim(value) ~= trim(values[1]) then
      return nil
    end
  end
  local unit, range, total = trim(values[1] or ""):match("^(%a+)[ \t]([^/]*)/(.*)$")
  local first, last = (range or ""):match("^([^-]*)%-(.*)$")
  if not first or unit:lower() ~= "bytes" then
    return nil
  end
  first, last, total = digits(trim(first)), digits(trim(last)), trim(total)
  local length = digits(total)
  if first and last and first <= last and (total == "*" or (length and last < length)) then
    return first, last
  end
end

-- What keeps a client from taking a response's headers at their word, or nil.
local function response_fault(head)
  local codings = elements(head, "Content-Encoding")
  local is_ours = false
  for _, coding in ipairs(codings or {}) do
    is_ours = is_ours or coding:lower() == "peerdist"
  end
  if not codings then
    return "a header is too long"
  elseif not is_ours then
    return nil
  elseif #codings ~= 1 then
    return "peerdist is stacked with another content coding"
  elseif head.status ~= 200 and head.status ~= 206 then
    return "content information with the status " .. head.status
  end
  for _, value in ipairs(lines(head, "Content-Type")) do
    value = trim(value):lower()
    if value:sub(1, 10) == "multipart/" and value:find("byteranges", 1, true) then
      return "content information as multipart/byteranges"
    end
  end
  local own = read_parameters(head, PEERDIST, OWN)
  if not own then
    return "a header is too long"
  elseif not own.version then
    return "X-P2P-PeerDist has no valid Version"
  end
  local major, minor = parts_of(own.version)
  if major ~= 1 or minor > 1 then
    return "PeerDist version " .. own.version .. " was not offered"
  elseif not own.contentlength or own.contentlength == "0" then
    return "X-P2P-PeerDist has no valid ContentLength"
  elseif head.status == 206 and not content_range(head) then
    return "status 206 without a valid Content-Range"
  end
end

-- The tree of a head; nil where it has nothing of MS-PCCRTP.
function http.dissect(head)
  local function names_coding(name)
    for _, value in ipairs(lines(head, name)) do
      for _, part in ipairs(split(value)) do
        if trim(part:match("^[^;]*")):lower() == "peerdist" then
          return true
        end
      end
    end
    return false
  end
  local offers = names_coding("Accept-Encoding")
  local has_headers = #lines(head, PEERDIST) > 0 or #lines(head, PEERDIST_EX) > 0
  if not (has_headers or offers or names_coding("Content-Encoding")) then
    return nil
  end
  local out, prefix = {}, "pccrtp"
  local function first(name, kind, value)
    out[#out + 1] = { name = name, kind = kind, value = value, offset = 0, size = 0, prefix = prefix }
  end
  if head.method then
    first("Method", "text", head.method)
    first("Target", "text", head.target)
  else
    first("Status", "integer", head.status)
  end
  for _, line in ipairs(head.lines) do
    local lower, node = line.name:lower(), nil
    if lower == PEERDIST:lower() or lower == PEERDIST_EX:lower() then
      local name = lower == PEERDIST:lower() and PEERDIST or PEERDIST_EX
      node = { name = name, kind = "text", value = line.value, inside = parameters(line) }
    elseif NAMES[lower] then
      node = { name = NAMES[lower], kind = "text", value = line.value }
    end
    if node then
      node.offset, node.size, node.prefix = line.offset, #line.name + 2 + #line.value, prefix
      out[#out + 1] = node
    end
  end
  local rule, tolerated
  if head.method then
    rule, tolerated = request_fault(head, offers), true
  else
    rule, tolerated = response_fault(head), false
  end
  local faults = rule and {
    { offset = 0, field = PEERDIST, rule = rule, section = "MS-PCCRTP 2.2", tolerated = tolerated },
  }
  return {
    name = head.method and "request" or "response", prefix = prefix, protocol = "MS-PCCRTP", section = "2.2",
    size = head.size, fields = out, faults = faults or {},
  }
end

-- An answer that is none of the protocol's.
function http.plain_answer(document, section, head)
  local prefix = document:sub(4):lower()
  local status = { name = "Status", kind = "integer", value = head.status, offset = 0, size = 0, prefix = prefix }
  return {
    name = "HTTP_RESPONSE", prefix = prefix, protocol = document, section = section, size = head.size,
    fields = { status }, faults = {},
  }
end
