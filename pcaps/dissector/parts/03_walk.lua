-- Bytes to trees: a table is walked along the bytes, as far as they go, and what is broken is noted on the way. What
-- it says is what `peerdist decode` says, word by word.
--
-- A node is { name, offset, size, value, kind, prefix }; `value` of the kinds `record` and `list` has the nodes inside.

local REST = "_rest"
local MAX_FAULTS = 64
-- The decoder reads ten times as many; the tree of Wireshark is slow long before that.
local MAX_NODES = 100000

local HASH_SIZES = { [0x800C] = 32, [0x800D] = 48, [0x800E] = 64 }

local Walk = {}
Walk.__index = Walk

function walk.version_text(value)
  return basic.text(value % 65536) .. "." .. basic.text(math.floor(value / 65536))
end

local function number(field, value)
  if field.version then
    return walk.version_text(value)
  end
  local name = field.values and field.values[value]
  return name and basic.text(value) .. " (" .. name .. ")" or basic.text(value)
end

function walk.section(structure)
  return structure.protocol .. " " .. structure.section
end

function walk.dissect(structure, s)
  local self = setmetatable({
    root = structure, section = structure, faults = {}, path = {}, scope = {}, lenient = false, nodes = 0,
  }, Walk)
  local reader, out = { s = s, at = 0, stop = #s }, {}
  if #s > structure.max_size then
    self:fault(0, basic.text(#s) .. " bytes, where " .. basic.text(structure.max_size) .. " are the most", false)
  end
  if self:fields(structure, reader, out) then
    self:finish(structure, reader, out)
  end
  return {
    name = structure.name, prefix = structure.prefix, protocol = structure.protocol, section = structure.section,
    size = #s, fields = out, faults = self.faults, is_short = self.is_short,
  }
end

local function left(reader)
  return reader.stop - reader.at
end

-- Every function here returns whether the rest of the message can be read.
function Walk:fields(structure, reader, out)
  local outer = self.section
  self.section = structure
  local start = reader.at
  for _, field in ipairs(structure.fields) do
    if field.may_end and left(reader) == 0 then
      self:rest(reader, out)
      break
    end
    self.path[#self.path + 1] = field.name
    if not self:field(field, reader, start, out) then
      return false
    end
    self.path[#self.path] = nil
  end
  for _, name in ipairs(structure.checks) do
    check[name](out, self)
  end
  self.section = outer
  return true
end

-- What follows the last field of a message.
function Walk:finish(structure, reader, out)
  local count = left(reader)
  if count == 0 then
    return
  end
  if not structure.open_end then
    local zeros = count <= structure.tail_padding and not reader.s:sub(reader.at + 1, reader.stop):find("[^\0]")
    self:fault(reader.at, basic.counted(count) .. " left over behind the last field", zeros)
  end
  self:rest(reader, out, structure)
end

function Walk:field(field, reader, start, out)
  local offset, kind, value = reader.at, field.kind, nil
  self.nodes = self.nodes + 1
  if self.nodes > MAX_NODES then
    self:fault(offset, "only " .. basic.text(MAX_NODES) .. " fields are read of one message", true)
    self:rest(reader, out)
    return false
  end
  if kind == "structure" then
    return self:structure(field, reader, out)
  elseif kind == "array" then
    return self:array(field, reader, out)
  elseif kind == "integer" then
    if not self:take(field.width, reader, out) then
      return false
    end
    value = basic.integer(reader.s, offset, field.width, field.little)
    self.scope[#self.scope + 1] = { field.name, value }
    self:integer_rules(field, value, offset, start, left(reader))
  elseif kind == "zero_pad" then
    value = self:take(-offset % 4, reader, out)
    if not value then
      return false
    end
    if value:find("[^\0]") then
      self:fault(offset, "padding that is not zero", true)
    end
  else
    local size = field.size
    if field.sized_by then
      size = self:number(field.sized_by)
    elseif field.hash_of then
      size = HASH_SIZES[self:number(field.hash_of)]
      if not size then
        return self:stop("its size is unknown, as the hash is", reader, out)
      end
    elseif field.rest then
      size = left(reader)
    end
    value = self:take(size, reader, out)
    if not value then
      return false
    end
    self:size_rule(field, offset, #value)
  end
  kind = kind == "integer" and kind or "bytes"
  out[#out + 1] = {
    name = field.name, offset = offset, size = reader.at - offset, value = value, kind = kind, field = field,
    prefix = self.section.prefix,
  }
  return true
end

function Walk:size_rule(field, offset, size)
  if not field.sizes then
    return
  end
  for _, due in ipairs(field.sizes) do
    if due == size then
      return
    end
  end
  local due = "[" .. table.concat(field.sizes, ", ") .. "]"
  self:fault(offset, basic.counted(size) .. ", where one of " .. due .. " is due", false)
end

function Walk:structure(field, reader, out)
  local offset, inner, prefix = reader.at, {}, self.section.prefix
  local structure = field.structure
  local node = { name = field.name, offset = offset, value = inner, kind = "record", field = field, prefix = prefix }
  if not (field.sized_by or field.rest) then
    local outcome = self:fields(structure, reader, inner)
    node.size = reader.at - offset
    out[#out + 1] = node
    return outcome
  end
  local wanted = field.rest and left(reader) or self:number(field.sized_by)
  local size = math.min(wanted, left(reader))
  local part = { s = reader.s, at = offset, stop = offset + size }
  reader.at = offset + size
  if wanted > 0 or field.rest then
    local depth, section, lenient = #self.path, self.section, self.lenient
    self.lenient = lenient or structure.open_end
    if self:fields(structure, part, inner) then
      self:finish(structure, part, inner)
    end
    self:truncate(self.path, depth)
    self.lenient, self.section = lenient, section
  end
  node.size = size
  out[#out + 1] = node
  if wanted > size then
    return self:stop(basic.counted(wanted) .. " announced, " .. basic.text(size) .. " left", reader, out)
  end
  return true
end

function Walk:array(field, reader, out)
  local offset, items, outcome = reader.at, {}, true
  -- Where an item cannot be read, `self.section` stays that of a structure inside.
  local prefix = self.section.prefix
  if field.counted_by then
    outcome = self:items(field.item, reader, items, self:number(field.counted_by))
  elseif field.within then
    local wanted = self:number(field.within)
    local size = math.min(wanted, left(reader))
    local part = { s = reader.s, at = offset, stop = offset + size }
    reader.at = offset + size
    local depth, section, known = #self.path, self.section, #self.scope
    -- What cannot be read there ends with it.
    if not self:items(field.item, part, items, nil) then
      self:truncate(self.path, depth)
      self:truncate(self.scope, known)
      self.section = section
    end
    if wanted > size then
      self:fault(offset, basic.counted(wanted) .. " announced, " .. basic.text(size) .. " left", false)
    end
  else
    outcome = self:items(field.item, reader, items, nil)
  end
  if outcome and field.least and (#items < field.least or (field.most and #items > field.most)) then
    local most = field.most and basic.text(field.most) or "more"
    self:fault(offset, #items .. " items, where " .. basic.text(field.least) .. " to " .. most .. " are due", false)
  end
  out[#out + 1] = {
    name = field.name, offset = offset, size = reader.at - offset, value = items, kind = "list", field = field,
    prefix = prefix,
  }
  return outcome
end

-- `count` items, or as many as there are bytes for.
function Walk:items(item, reader, items, count)
  local start, known = reader.at, #self.scope
  while (count and #items < count) or (not count and left(reader) > 0) do
    self.path[#self.path + 1] = #items
    local one = {}
    local outcome = self:field(item, reader, start, one)
    for _, node in ipairs(one) do
      if node.name == REST then
        -- The bytes in the place of an item that could not be read.
        node = {
          name = item.name, offset = node.offset, size = node.size, value = { node }, kind = "record",
          prefix = node.prefix,
        }
      end
      items[#items + 1] = node
    end
    if not outcome then
      return false
    end
    self.path[#self.path] = nil
    self:truncate(self.scope, known)
  end
  return true
end

function Walk:truncate(list, count)
  for i = #list, count + 1, -1 do
    list[i] = nil
  end
end

function Walk:take(size, reader, out)
  if size > left(reader) then
    self.is_short = true
    self:stop("cut off: " .. basic.counted(size) .. " needed, " .. basic.text(left(reader)) .. " left", reader, out)
    return nil
  end
  local at = reader.at
  reader.at = at + size
  return reader.s:sub(at + 1, at + size)
end

-- Puts what is left into the tree and says why it stays unread.
function Walk:stop(rule, reader, out)
  self:fault(reader.at, rule, false)
  self:rest(reader, out)
  return false
end

function Walk:rest(reader, out, structure)
  out[#out + 1] = {
    name = REST, offset = reader.at, size = left(reader), value = reader.s:sub(reader.at + 1, reader.stop),
    kind = "bytes", prefix = (structure or self.section).prefix,
  }
  reader.at = reader.stop
end

function Walk:number(name)
  for i = #self.scope, 1, -1 do
    if self.scope[i][1] == name then
      return self.scope[i][2]
    end
  end
  return 0
end

function Walk:integer_rules(field, value, offset, start, after)
  for _, constant in ipairs(self.root.constants) do
    if constant.field == field.name then
      if constant.value ~= value then
        local due = " has " .. number(field, constant.value)
        self:fault(offset, number(field, value) .. ", where " .. self.root.name .. due, constant.tolerated)
      end
      break
    end
  end
  for _, rule in ipairs(field.rules or {}) do
    local what, first, second = rule[1], rule[2], rule[3]
    local shown, size = basic.text(value), offset - start + field.width + after
    local text, tolerated = nil, false
    if what == "is" and value ~= first then
      text = shown .. ", where " .. basic.text(first) .. " is due"
    elseif what == "should_be" and value ~= first then
      text, tolerated = shown .. ", where " .. basic.text(first) .. " is expected", true
    elseif what == "known" and field.values and not field.values[value] then
      text = shown .. " has no meaning"
    elseif what == "between" and (value < first or value > second) then
      text = shown .. ", where " .. basic.text(first) .. " to " .. basic.text(second) .. " are allowed"
    elseif what == "multiple" and (value == 0 or value % first ~= 0) then
      text = shown .. " is no positive multiple of " .. basic.text(first)
    elseif what == "size_of_rest" and value ~= after then
      text = shown .. ", but " .. basic.counted(after) .. " follow"
    elseif what == "size_of_message" and value ~= size then
      text = shown .. ", but the message has " .. basic.counted(size)
    end
    if text then
      self:fault(offset, text, tolerated)
    end
  end
end

-- Notes a broken rule, at the field that is being read.
function Walk:fault(offset, rule, tolerated)
  local field = ""
  for _, part in ipairs(self.path) do
    if type(part) == "number" then
      field = field .. "[" .. part .. "]"
    else
      field = field == "" and part or field .. "." .. part
    end
  end
  local count = #self.faults
  if count + 1 == MAX_FAULTS then
    field, rule, tolerated = "", "more rules are broken from here on", false
  elseif count >= MAX_FAULTS then
    return
  else
    tolerated = tolerated or self.lenient
  end
  self.faults[count + 1] = {
    offset = offset, field = field, rule = rule, section = walk.section(self.section), tolerated = tolerated,
  }
end

-- Notes a broken rule between fields; `field` is named within the structure that is being read.
function Walk:broken(offset, field, rule, tolerated)
  local before = #self.faults
  self:fault(offset, rule, tolerated)
  local fault = self.faults[before + 1]
  if fault and before + 1 < MAX_FAULTS then
    fault.field = (fault.field == "" or field == "") and fault.field .. field or fault.field .. "." .. field
  end
end

-- The first node of this name, wherever it is.
function walk.find(nodes, name)
  for _, node in ipairs(nodes) do
    if node.name == name then
      return node
    end
    local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
    local found = inside and walk.find(inside, name)
    if found then
      return found
    end
  end
end

-- The number in the field of this name, or nil.
function walk.integer(nodes, name)
  local node = walk.find(nodes, name)
  return node and node.kind == "integer" and node.value or nil
end
