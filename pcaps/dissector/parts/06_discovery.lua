-- Probe and ProbeMatches (MS-PCCRD): what is shown of them, and what keeps receivers from taking them.

local OURS = "PeerDist"
local MAX_ELEMENTS = 256
local DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery/"
local RULES = {
  [DISCOVERY .. "strcmp0"] = 1,
  ["http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule"] = 2,
}
local TYPES = { PeerDistData = 1, PeerDistDataV2 = 2 }
local BAD_SCOPES = "the Scopes are badly formed"

local SHOWN = {}
for _, name in ipairs(facts.datagram_elements) do
  SHOWN[name] = true
end

-- Whether a datagram to any port is one of WS-Discovery: XML that says so soon.
function discovery.begins(start)
  start = start:gsub("^\239\187\191", "", 1)
  return start:find("^[ \t\n\f\r]*<") ~= nil and start:find(DISCOVERY:sub(1, -2), 1, true) ~= nil
end

local function once(known, value, element)
  if known ~= nil then
    xml.fail(element .. " stands there twice", element)
  end
  return value
end

local function missing(element)
  xml.fail("no " .. element, element)
end

local function identity(text, element)
  -- Control characters of Unicode: those of ASCII, and U+0080 to U+009F.
  local is_printable = not text:find("[\0-\31\127]") and not text:find("\194[\128-\159]")
  if text == "" or #text > facts.max_identity_size or not is_printable then
    xml.fail(element .. " is empty, too long or not printable", element)
  end
  return text
end

local function is_segment_id(bytes)
  return bytes and #bytes >= 1 and #bytes <= 64
end

local function scopes_1(text)
  local ids = {}
  for token in text:gmatch("[^ \t\r\n]+") do
    if #ids == facts.max_ids then
      xml.fail("more than " .. facts.max_ids .. " segment ids", "Scopes")
    end
    local id = basic.from_hex(token)
    if not is_segment_id(id) then
      xml.fail(BAD_SCOPES, "Scopes")
    end
    ids[#ids + 1] = id
  end
  if #ids == 0 then
    xml.fail(BAD_SCOPES, "Scopes")
  end
end

local function scopes_2(text)
  local bytes = basic.from_base64(text)
  if not bytes or #bytes < 3 then
    xml.fail(BAD_SCOPES, "Scopes")
  end
  local size, count = basic.integer(bytes, 0, 2), bytes:byte(3)
  if count == 0 or size < 1 or size > 64 or #bytes ~= 3 + size * count then
    xml.fail(BAD_SCOPES, "Scopes")
  end
end

-- The version of the first BranchCache type of a Types list, or nil.
local function types(document)
  local _, version = document:content(function(text)
    for token in text:gmatch("[^ \t\r\n]+") do
      local prefix, name = token:match("^([^:]*):(.*)$")
      local namespace = document:lookup(prefix or "")
      local literal = token:match("^PeerDist:(PeerDistData[V2]*)$")
      local version = TYPES[literal or (namespace == "peerdist" and (name or token)) or ""]
      if version then
        return version
      end
    end
  end)
  return version
end

local function is(element, namespace, name)
  return element.namespace == namespace and element.name == name
end

local function other_type()
  xml.fail("the Types name no BranchCache service", "Types")
end

local function probe(document)
  local version, scopes, rule
  for child in document.child, document do
    if is(child, "wsd", "Types") then
      version = once(version, types(document) or other_type(), "Types")
    elseif is(child, "wsd", "Scopes") then
      local named = RULES[xml.attribute(child, "MatchBy") or ""]
      local text = document:content()
      scopes, rule = once(scopes, text, "Scopes"), named
    else
      document:skip()
    end
  end
  if not version then
    other_type()
  elseif not scopes then
    missing("Scopes")
  elseif rule ~= version then
    xml.fail("the MatchBy rule is not the one of the Types", "Scopes")
  end
  if version == 1 then scopes_1(scopes) else scopes_2(scopes) end
end

-- One ProbeMatch; whether it is of this protocol.
local function probe_match(document)
  local address, version, scopes, addresses
  for child in document.child, document do
    if is(child, "wsa", "EndpointReference") then
      for part in document.child, document do
        if is(part, "wsa", "Address") then
          address = once(address, identity(document:content(), "Address"), "Address")
        else
          document:skip()
        end
      end
    elseif is(child, "wsd", "Types") then
      local read = types(document)
      version = read and once(version, read, "Types") or version
    elseif is(child, "wsd", "Scopes") then
      scopes = once(scopes, document:content(), "Scopes")
    elseif is(child, "wsd", "XAddrs") then
      addresses = once(addresses, document:content(), "XAddrs")
    elseif is(child, "wsd", "MetadataVersion") then
      document:content()
    elseif child.namespace == "peerdist" and TYPES[child.name] then
      for part in document.child, document do
        if part.namespace == "peerdist" and (part.name == "BlockCount" or part.name == "SegmentAges") then
          document:content()
        else
          document:skip()
        end
      end
    else
      document:skip()
    end
  end
  if not version then
    return false
  elseif not scopes then
    missing("Scopes")
  end
  if version == 1 then
    scopes_1(scopes)
  elseif (basic.from_base64(scopes) or "") == "" then
    xml.fail(BAD_SCOPES, "Scopes")
  end
  if not address then
    missing("Address")
  elseif not addresses then
    missing("XAddrs")
  end
  return true
end

local function other_action()
  xml.fail("neither Probe nor ProbeMatches", "Action")
end

local function body(document, action)
  local child = document:child() or missing("Body")
  if not is(child, "wsd", action) then
    other_action()
  elseif action == "Probe" then
    probe(document)
  else
    local is_ours = false
    for element in document.child, document do
      if is(element, "wsd", "ProbeMatch") then
        is_ours = probe_match(document) or is_ours
      else
        document:skip()
      end
    end
    if not is_ours then
      other_type()
    end
  end
  while document:child() do
    document:skip()
  end
end

local function header(document, known)
  for child in document.child, document do
    if is(child, "wsa", "Action") then
      local text = document:content()
      local action = text == DISCOVERY .. "Probe" and "Probe" or text == DISCOVERY .. "ProbeMatches" and "ProbeMatches"
      known.action = once(known.action, action or other_action(), "Action")
    elseif is(child, "wsa", "MessageID") then
      known.message_id = once(known.message_id, identity(document:content(), "MessageID"), "MessageID")
    elseif is(child, "wsa", "RelatesTo") then
      known.relates_to = once(known.relates_to, identity(document:content(), "RelatesTo"), "RelatesTo")
    else
      document:skip()
    end
  end
end

-- Raises why a datagram is no message of this protocol.
local function judge(s)
  if #s > facts.max_datagram_size then
    xml.fail(#s .. " bytes, at most " .. facts.max_datagram_size)
  end
  local document, known, has_body = xml.document(s), {}, false
  if not is(document:root(), "soap", "Envelope") then
    xml.fail("not a SOAP 1.2 envelope")
  end
  for child in document.child, document do
    if is(child, "soap", "Header") and not has_body then
      header(document, known)
    elseif is(child, "soap", "Body") and not has_body then
      body(document, known.action or missing("Action"))
      has_body = true
    else
      document:skip()
    end
  end
  document:finish()
  if not has_body then
    missing("Body")
  elseif not known.message_id then
    missing("MessageID")
  elseif known.action == "ProbeMatches" and not known.relates_to then
    missing("RelatesTo")
  end
end

-- AppSequence has nothing but attributes; the rule of Scopes is one.
local function attributes(event, out)
  local function add(name, is_number)
    for _, attribute in ipairs((xml.attributes(event.rest))) do
      local value = attribute.name == name and xml.attribute_value(attribute.value)
      if value then
        local node = { name = name, offset = event.at, size = event.stop - event.at, prefix = "pccrd" }
        node.kind, node.value = "text", value
        out[#out + 1] = is_number and discovery.as_number(node) or node
        return
      end
    end
  end
  local name = xml.local_name(event.name)
  if name == "AppSequence" then
    add("InstanceId", true)
    add("MessageNumber", true)
  elseif name == "Scopes" then
    add("MatchBy", false)
  end
end

-- A node of text as a number where it is one.
function discovery.as_number(node)
  local number = basic.decimal(node.value)
  if number then
    node.kind, node.value = "integer", number
  else
    node.key = node.name .. ".text"
  end
  return node
end

-- Every element that the document names; lenient, as far as the XML goes.
local function elements(s)
  local out, open, count, events = {}, nil, 0, xml.events(s)
  while true do
    local event = events:next()
    if event.kind == "start" or event.kind == "empty" then
      count = count + 1
      if count > MAX_ELEMENTS then
        return out
      end
      local name = xml.local_name(event.name)
      open = SHOWN[name] and name or nil
      attributes(event, out)
    elseif event.kind == "text" and open and basic.trim_xml(event.text) ~= "" then
      local value = basic.trim_xml(event.text)
      local skipped = event.text:find("[^ \t\r\n]") - 1
      out[#out + 1] = {
        name = open, offset = event.at + skipped, size = #value, value = value, kind = "text", prefix = "pccrd",
      }
      open = nil
    elseif event.kind == "end" then
      open = nil
    elseif event.kind == "eof" or event.kind == "error" then
      return out
    end
  end
end

-- Opens the values that are more than text. What is inside has its place in `bytes`, which were decoded.
local function open(node, is_v2, is_probe)
  local text, inside, bytes = node.value, {}, ""
  local function add(name, kind, value, offset, size, prefix)
    local child = { name = name, kind = kind, value = value, offset = offset, size = size, prefix = prefix or "pccrd" }
    inside[#inside + 1] = child
    return child
  end
  local function ids_of(list)
    local start, items = #bytes, {}
    for _, id in ipairs(list) do
      items[#items + 1] = {
        name = "SegmentID", kind = "bytes", value = id, offset = #bytes, size = #id, prefix = "pccrd",
      }
      bytes = bytes .. id
    end
    add("SegmentIDs", "list", items, start, #bytes - start)
  end
  if node.name == "Scopes" and not is_v2 then
    local ids = {}
    for token in text:gmatch("[^ \t\r\n]+") do
      ids[#ids + 1] = basic.from_hex(token)
    end
    ids_of(ids)
  elseif node.name == "Scopes" and is_probe then
    local decoded, ids = basic.from_base64(text, true) or "", {}
    if #decoded < 3 then
      return
    end
    bytes = decoded:sub(1, 3)
    local size, count = basic.integer(decoded, 0, 2), decoded:byte(3)
    add("SegmentHashSize", "integer", size, 0, 2)
    add("SegmentHashCount", "integer", count, 2, 1)
    for at = 4, #decoded, math.max(size, 1) do
      if #ids < 255 then
        ids[#ids + 1] = decoded:sub(at, at + math.max(size, 1) - 1)
      end
    end
    ids_of(ids)
  elseif node.name == "Scopes" then
    bytes = basic.from_base64(text, true) or ""
    add("Availability", "bytes", bytes, 0, #bytes)
  elseif node.name == "BlockCount" then
    node.key = "BlockCount.text"
    if #text % 8 ~= 0 or text:find("[\128-\255]") then
      return
    end
    local items = {}
    for digits in text:gmatch("........") do
      local count = digits:find("^%+?%x+$") and tonumber((digits:gsub("%+", "")), 16)
      if count then
        items[#items + 1] = {
          name = "BlockCount", kind = "integer", value = count, offset = #bytes, size = 4, prefix = "pccrd",
        }
        bytes = bytes .. basic.from_hex(string.format("%08X", count))
      end
    end
    add("BlockCounts", "list", items, 0, #bytes)
  elseif node.name == "SegmentAges" then
    bytes = basic.from_base64(text, true) or ""
    for _, child in ipairs(walk.dissect(tables.by_name.EXTENSIBLE_BLOB, bytes).fields) do
      inside[#inside + 1] = child
    end
  elseif node.name == "MetadataVersion" then
    discovery.as_number(node)
    return
  else
    return
  end
  node.inside, node.bytes = inside, bytes
end

-- The tree of a datagram of UDP port 3702; nil where it is some other WS-Discovery message.
function discovery.dissect(s)
  local shown = s:sub(1, facts.max_datagram_size)
  if not shown:find(OURS, 1, true) then
    return nil
  end
  local nodes = xml.is_utf8(shown) and elements(shown) or {}
  local function text(name)
    for _, node in ipairs(nodes) do
      if node.name == name then
        return node.kind == "text" and node.value or ""
      end
    end
    return ""
  end
  local action = text("Action"):gsub("^.*/", "")
  local name, section = "Envelope", "2.2.2"
  if action == "Probe" then
    name, section = "Probe", "2.2.2.1"
  elseif action == "ProbeMatches" then
    name, section = "ProbeMatches", "2.2.2.2"
  end
  local tree = {
    name = name, prefix = "pccrd", protocol = "MS-PCCRD", section = section, size = #shown, fields = nodes, faults = {},
    message_id = text("MessageID"), relates_to = text("RelatesTo"),
  }
  local is_v2 = text("Types"):find("PeerDistDataV2", 1, true)
  for _, node in ipairs(nodes) do
    if node.kind == "text" then
      open(node, is_v2, name == "Probe")
    end
  end
  local is_good, fault = pcall(judge, shown)
  if not is_good then
    if type(fault) ~= "table" then
      error(fault, 0)
    end
    tree.faults[1] = {
      offset = fault.offset, field = fault.field, rule = fault.rule, section = "MS-PCCRD " .. section,
      tolerated = false,
    }
  end
  return tree
end
