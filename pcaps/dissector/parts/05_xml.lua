-- XML 1.0 with namespaces, as much of it as SOAP 1.2 allows: a reader of events, and a strict layer over it that knows
-- elements with their namespaces, trimmed text and limits. What is wrong is raised as { rule, field, offset }.

local MAX_DEPTH, MAX_ELEMENTS, MAX_ATTRIBUTES = 16, 256, 32

local NAMESPACES = {
  ["http://www.w3.org/2003/05/soap-envelope"] = "soap",
  ["http://schemas.xmlsoap.org/ws/2004/08/addressing"] = "wsa",
  ["http://schemas.xmlsoap.org/ws/2005/04/discovery"] = "wsd",
  ["http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery"] = "peerdist",
  [""] = "none",
}

local ENTITIES = { lt = "<", gt = ">", amp = "&", apos = "'", quot = '"' }

function xml.fail(rule, field, offset)
  error({ rule = rule, field = field or "", offset = offset or 0 }, 0)
end

-- Whether bytes are UTF-8 (RFC 3629).
function xml.is_utf8(s)
  local at = s:find("[\128-\255]")
  while at do
    local a, b, c, d = s:byte(at, at + 3)
    local function follows(byte)
      return byte and byte >= 0x80 and byte <= 0xbf
    end
    local size
    if a >= 0xc2 and a <= 0xdf and follows(b) then
      size = 2
    elseif a >= 0xe0 and a <= 0xef and follows(b) and follows(c) and not (a == 0xe0 and b < 0xa0)
      and not (a == 0xed and b > 0x9f) then
      size = 3
    elseif a >= 0xf0 and a <= 0xf4 and follows(b) and follows(c) and follows(d) and not (a == 0xf0 and b < 0x90)
      and not (a == 0xf4 and b > 0x8f) then
      size = 4
    else
      return false
    end
    at = s:find("[\128-\255]", at + size)
  end
  return true
end

local function utf8_of(code)
  if code < 0x80 then
    return string.char(code)
  end
  local tail, limit = {}, 0x40
  while code >= limit do
    table.insert(tail, 1, string.char(0x80 + code % 64))
    code = math.floor(code / 64)
    limit = #tail == 1 and 0x20 or limit / 2
  end
  local lead = ({ 0xc0, 0xe0, 0xf0 })[#tail]
  return string.char(lead + code) .. table.concat(tail)
end

-- What `&name;` stands for, or nil.
local function resolve(name)
  local digits = name:match("^#(%d+)$")
  local code = digits and tonumber(digits) or tonumber(name:match("^#x(%x+)$") or "", 16)
  if code then
    local is_character = code > 0 and code <= 0x10ffff and (code < 0xd800 or code > 0xdfff)
    return is_character and utf8_of(code) or nil
  end
  return ENTITIES[name]
end

-- Events of `s`, one a call: { kind, at, stop, name or text, attributes }. `at` and `stop` count the bytes before.
local Events = {}
Events.__index = Events

function xml.events(s)
  return setmetatable({ s = s, at = s:sub(1, 3) == "\239\187\191" and 3 or 0, open = {} }, Events)
end

function Events:next()
  local s, at = self.s, self.at
  if at >= #s then
    return { kind = #self.open == 0 and "eof" or "error", at = at, stop = at }
  end
  local function event(kind, stop, text)
    self.at = stop
    return { kind = kind, at = at, stop = stop, text = text }
  end
  local function until_text(closing, from, kind)
    local first, last = s:find(closing, from, true)
    if not first then
      return event("error", #s)
    end
    return event(kind, last, s:sub(from, first - 1))
  end
  local first = s:sub(at + 1, at + 1)
  if first == "&" then
    local name = s:match("^&([^;&<]*);", at + 1)
    return name and event("reference", at + #name + 2, name) or event("error", at)
  elseif first ~= "<" then
    local stop = (s:find("[<&]", at + 1) or #s + 1) - 1
    return event("text", stop, s:sub(at + 1, stop))
  elseif at + 1 == #s then
    return event("error", at)
  elseif s:sub(at + 1, at + 4) == "<!--" then
    return until_text("-->", at + 5, "comment")
  elseif s:sub(at + 1, at + 9) == "<![CDATA[" then
    return until_text("]]>", at + 10, "cdata")
  elseif s:sub(at + 1, at + 2) == "<!" then
    local is_doctype = s:sub(at + 3, at + 9):upper() == "DOCTYPE"
    return is_doctype and until_text(">", at + 10, "doctype") or event("error", at)
  elseif s:sub(at + 1, at + 2) == "<?" then
    local found = until_text("?>", at + 3, "instruction")
    if found.kind == "instruction" and found.text:match("^xml[ \t\r\n]") then
      found.kind = "declaration"
    end
    return found
  end
  return self:tag(at)
end

-- A start or end tag; quotes may hide the bracket that ends it.
function Events:tag(at)
  local s, stop, quote = self.s, at + 2, nil
  repeat
    local found = s:find(quote or "[\"'>]", stop)
    if not found then
      self.at = #s
      return { kind = "error", at = at, stop = #s }
    end
    local character = s:sub(found, found)
    stop = found + 1
    quote = not quote and character ~= ">" and character or nil
  until character == ">"
  self.at = stop - 1
  local event, inside = { at = at, stop = self.at }, s:sub(at + 2, stop - 2)
  if inside:sub(1, 1) == "/" then
    local is_due = table.remove(self.open) == basic.trim_xml(inside):sub(2)
    event.kind = is_due and "end" or "error"
    return event
  end
  event.kind = inside:sub(-1) == "/" and "empty" or "start"
  inside = event.kind == "empty" and inside:sub(1, -2) or inside
  event.name, event.rest = inside:match("^([^ \t\r\n]*)(.*)$")
  if event.kind == "start" then
    self.open[#self.open + 1] = event.name
  end
  return event
end

-- Names and values as they stand in a tag, and whether that is all there is.
function xml.attributes(rest)
  local found, at, names = {}, 1, {}
  while true do
    local _, skipped = rest:find("^[ \t\r\n]*", at)
    at = skipped + 1
    if at > #rest then
      return found, true
    end
    local name, quote, from = rest:match("^([^ \t\r\n=]+)[ \t\r\n]*=[ \t\r\n]*([\"'])()", at)
    local stop = name and rest:find(quote, from, true)
    if not stop or names[name] then
      return found, false
    end
    names[name] = true
    found[#found + 1] = { name = name, value = rest:sub(from, stop - 1) }
    at = stop + 1
  end
end

-- The value that an attribute stands for; nil with an entity that is not predefined.
function xml.attribute_value(raw)
  local is_good = true
  local value = raw:gsub("\r\n", " "):gsub("[\t\r\n]", " "):gsub("&([^;]*)(;?)", function(name, closed)
    local character = closed == ";" and resolve(name)
    is_good = is_good and character and true or false
    return character or ""
  end)
  return is_good and value or nil
end

function xml.local_name(name)
  return name:match("^[^:]*:(.*)$") or name
end

-- The strict layer.
local Document = {}
Document.__index = Document

function xml.document(s)
  if not xml.is_utf8(s) then
    xml.fail("not UTF-8")
  end
  return setmetatable({ events = xml.events(s), depth = 0, elements = 0, bindings = {} }, Document)
end

function Document:not_well_formed()
  local at = self.events.at
  xml.fail("not well-formed XML near byte " .. at, "", at)
end

function Document:event()
  if self.pending_end then
    self.pending_end = false
    return { kind = "end" }
  end
  local event = self.events:next()
  if event.kind == "doctype" then
    xml.fail("a document type declaration")
  elseif event.kind == "instruction" then
    xml.fail("a processing instruction")
  elseif event.kind == "eof" or event.kind == "error" then
    self:not_well_formed()
  elseif event.kind == "empty" then
    self.pending_end = true
    event.kind = "start"
  end
  return event
end

function Document:lookup(prefix)
  for i = #self.bindings, 1, -1 do
    if self.bindings[i].prefix == prefix then
      return self.bindings[i].namespace
    end
  end
  return prefix == "" and "none" or prefix == "xml" and "other" or nil
end

-- Takes note of the namespaces that an element declares and looks at every attribute once.
function Document:declare(event)
  local attributes, is_whole = xml.attributes(event.rest)
  local prefixes = {}
  for count, attribute in ipairs(attributes) do
    if count > MAX_ATTRIBUTES then
      xml.fail("more than " .. MAX_ATTRIBUTES .. " attributes on one element")
    elseif attribute.value:find("<", 1, true) then
      self:not_well_formed()
    end
    local value = xml.attribute_value(attribute.value)
    if not value then
      xml.fail("an entity that XML does not predefine")
    end
    local declared = attribute.name == "xmlns" and "" or attribute.name:match("^xmlns:(.*)$")
    if declared then
      local is_taken = attribute.name ~= "xmlns" and (declared == "" or declared == "xml" or declared == "xmlns")
      if is_taken or (declared ~= "" and value == "") then
        xml.fail("a namespace prefix without a valid declaration")
      end
      local namespace = NAMESPACES[value] or "other"
      self.bindings[#self.bindings + 1] = { depth = self.depth, prefix = declared, namespace = namespace }
    else
      prefixes[#prefixes + 1] = attribute.name:match("^([^:]*):")
    end
  end
  if not is_whole then
    self:not_well_formed()
  end
  for _, prefix in ipairs(prefixes) do
    if not self:lookup(prefix) then
      xml.fail("a namespace prefix without a valid declaration")
    end
  end
  event.attributes = attributes
end

function Document:open(event)
  self.depth, self.elements = self.depth + 1, self.elements + 1
  if self.depth > MAX_DEPTH then
    xml.fail("more than " .. MAX_DEPTH .. " levels of elements")
  elseif self.elements > MAX_ELEMENTS then
    xml.fail("more than " .. MAX_ELEMENTS .. " elements")
  end
  self:declare(event)
  local prefix, name = event.name:match("^([^:]*):(.*)$")
  name = name or event.name
  if name == "" or name:find(":", 1, true) then
    self:not_well_formed()
  end
  local namespace = self:lookup(prefix or "")
  if not namespace then
    xml.fail("a namespace prefix without a valid declaration")
  end
  return { name = name, namespace = namespace, attributes = event.attributes }
end

function Document:close()
  while #self.bindings > 0 and self.bindings[#self.bindings].depth == self.depth do
    self.bindings[#self.bindings] = nil
  end
  self.depth = self.depth - 1
end

function Document:root()
  local first = true
  while true do
    local event = self:event()
    if event.kind == "start" then
      return self:open(event)
    end
    local is_blank = event.kind == "text" and basic.trim_xml(event.text) == ""
    if not (event.kind == "comment" or is_blank or (first and event.kind == "declaration")) then
      self:not_well_formed()
    end
    first = false
  end
end

-- The next child of the element that is open, or nil when that element has ended. Text between is ignored.
function Document:child()
  while true do
    local event = self:event()
    if event.kind == "start" then
      return self:open(event)
    elseif event.kind == "end" then
      self:close()
      return nil
    elseif event.kind == "reference" then
      if not resolve(event.text) then
        xml.fail("an entity that XML does not predefine")
      end
    elseif event.kind == "declaration" then
      self:not_well_formed()
    end
  end
end

-- The text of the element that is open, without the white space around it; closes the element. `use` is called with
-- the text while the element's own declarations still hold.
function Document:content(use)
  local parts = {}
  while true do
    local event = self:event()
    if event.kind == "end" then
      local text = basic.trim_xml(table.concat(parts))
      local used = use and use(text)
      self:close()
      return text, used
    elseif event.kind == "start" then
      xml.fail("an element inside a text value")
    elseif event.kind == "declaration" then
      self:not_well_formed()
    elseif event.kind == "reference" then
      local character = resolve(event.text)
      if not character then
        xml.fail("an entity that XML does not predefine")
      end
      parts[#parts + 1] = character
    elseif event.kind ~= "comment" then
      parts[#parts + 1] = event.text
    end
  end
end

-- Reads to the end of the element that is open.
function Document:skip()
  local outer = self.depth
  while self.depth >= outer do
    self:child()
  end
end

-- Nothing but white space and comments may follow the root element.
function Document:finish()
  while true do
    local event = self.events:next()
    if event.kind == "eof" and not self.pending_end then
      return
    elseif event.kind == "doctype" then
      xml.fail("a document type declaration")
    elseif not (event.kind == "comment" or (event.kind == "text" and basic.trim_xml(event.text) == "")) then
      self:not_well_formed()
    end
  end
end

function xml.attribute(element, name)
  for _, attribute in ipairs(element.attributes) do
    if attribute.name == name then
      return xml.attribute_value(attribute.value)
    end
  end
end
