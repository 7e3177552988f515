-- Messages in a few words, and how many there were of what.

local function number(tree, name)
  return walk.integer(tree.fields, name) or 0
end

local function counted(tree, name)
  local node = walk.find(tree.fields, name)
  return node and node.kind == "list" and #node.value or 0
end

local function plural(count, what)
  return basic.text(count) .. " " .. what .. (count == 1 and "" or "s")
end

local function blocks_of(tree)
  local list
  for _, name in ipairs({ "ReqBlockRanges", "NeededBlockRanges", "BlockRanges" }) do
    list = list or walk.find(tree.fields, name)
  end
  local total, first = 0, nil
  for _, range in ipairs(list and list.value or {}) do
    local inside = { fields = range.value }
    total = total + number(inside, "Count")
    first = first or number(inside, "Index")
  end
  return total, first
end

-- The bytes of the first field of this name that has any; items of a list may have the name of what is in them.
local function first_bytes(nodes, name)
  for _, node in ipairs(nodes) do
    if node.name == name and node.kind == "bytes" then
      return node.value
    end
    local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
    local found = inside and first_bytes(inside, name)
    if found then
      return found
    end
  end
end

local function segment_of(tree)
  for _, name in ipairs({ "SegmentID", "SegmentId", "Hash", "SegmentHoHoDk" }) do
    local id = first_bytes(tree.fields, name)
    if id then
      return "segment " .. basic.to_hex(id:sub(1, 8))
    end
  end
  return ""
end

local WHAT = {
  MSG_BLK = function(tree)
    local size = number(tree, "SizeOfBlock")
    local held = size == 0 and "not held" or basic.text(size) .. " bytes"
    return segment_of(tree) .. " block " .. basic.text(number(tree, "BlockIndex")) .. ", " .. held
  end,
  MSG_SEGLIST = function(tree) return plural(counted(tree, "SegmentRanges"), "range") end,
  MSG_NEGO_REQ = function(tree)
    local function version(name) return walk.version_text(number(tree, name)) end
    return version("MinSupportedProtocolVersion") .. " to " .. version("MaxSupportedProtocolVersion")
  end,
  SEGMENT_INFO_MESSAGE = function(tree) return basic.text(number(tree, "cbSegment")) .. " bytes" end,
  RESPONSE_MESSAGE = function(tree)
    local code = walk.find(tree.fields, "ResponseCode")
    return code and ({ [0] = "OK", [1] = "INTERESTED" })[code.value] or ""
  end,
  request = function(tree)
    local range = walk.find(tree.fields, "Range")
    return walk.find(tree.fields, "Method").value .. " " .. walk.find(tree.fields, "Target").value
      .. (range and ", " .. range.value or "")
  end,
  HTTP_RESPONSE = function(tree) return "status " .. basic.text(number(tree, "Status")) end,
  ["CONTENT_INFORMATION_1.0"] = function(tree) return plural(counted(tree, "segments"), "segment") end,
  ["CONTENT_INFORMATION_2.0"] = function(tree)
    local chunks, count = walk.find(tree.fields, "chunks"), 0
    for _, chunk in ipairs(chunks and chunks.value or {}) do
      count = count + counted({ fields = chunk.value }, "segments")
    end
    return plural(count, "segment")
  end,
}

local function with_blocks(tree)
  local total, first = blocks_of(tree)
  if total == 1 then
    return segment_of(tree) .. " block " .. basic.text(first)
  end
  return segment_of(tree) .. " " .. (total == 0 and "no blocks" or plural(total, "block"))
end

local function with_more(list)
  return function(tree)
    local count, segment = counted(tree, list), segment_of(tree)
    return segment .. (count > 1 and segment ~= "" and " and " .. basic.text(count - 1) .. " more" or "")
  end
end

WHAT.MSG_NEGO_RESP, WHAT.response = WHAT.MSG_NEGO_REQ, WHAT.HTTP_RESPONSE
WHAT.MSG_GETBLKS, WHAT.MSG_GETBLKLIST, WHAT.MSG_BLKLIST = with_blocks, with_blocks, with_blocks
WHAT.MSG_GETSEGLIST, WHAT.BATCHED_OFFER_MESSAGE = with_more("SegmentIDs"), with_more("SegmentDescriptors")
WHAT.Probe, WHAT.ProbeMatches, WHAT.INITIAL_OFFER_MESSAGE = with_more("SegmentIDs"), with_more("SegmentIDs"), segment_of

-- Of a message that is cut off: what is whole of it.
local function cut_what(tree)
  local segment, index = segment_of(tree), walk.find(tree.fields, "BlockIndex")
  local block = index and " block " .. basic.text(index.value) or ""
  return (segment == "" and "" or segment .. block .. ", ") .. "cut off"
end

-- What a message is about: segment and blocks, or a URL.
function summary.what(tree)
  if tree.is_cut or tree.is_short then
    return cut_what(tree)
  end
  return WHAT[tree.name] and WHAT[tree.name](tree) or ""
end

-- What each frame adds to the statistics; a frame is dissected more than once, and what is never whole may be found when
-- all were seen (`is_late`).
local frames = {}

function summary.forget()
  frames = {}
end

function summary.count(tree, pinfo)
  if pinfo.visited and not tree.is_late then
    return
  end
  local frame = frames[pinfo.number] or {}
  frames[pinfo.number] = frame
  local note = { name = tree.name, protocol = tree.protocol, faults = 0, odd = 0, is_cut = tree.is_cut }
  frame[#frame + 1] = note
  if tree.is_cut then
    return
  end
  for _, fault in ipairs(tree.faults) do
    local kind = fault.tolerated and "odd" or "faults"
    note[kind] = note[kind] + 1
  end
  if tree.answers then
    note.took = pinfo.rel_ts - tree.answers.time
  end
  if tree.is_short then
    return
  elseif tree.name == "MSG_GETBLKS" then
    note.segment, note.asked = segment_of(tree), (blocks_of(tree))
  elseif tree.name == "MSG_BLK" then
    note.segment, note.size = segment_of(tree), number(tree, "SizeOfBlock")
    note.source = tostring(pinfo.src)
  end
end

-- The statistics of the frames that are handed to `add`, as text.
function summary.new()
  local self = { messages = {}, segments = {}, sources = {} }

  local function entry(list, name, fresh)
    if not list[name] then
      list[name] = fresh
    end
    return list[name]
  end

  function self.add(pinfo)
    for _, note in ipairs(frames[pinfo.number] or {}) do
      local fresh = { count = 0, cut = 0, faults = 0, odd = 0, answered = 0, took = 0, most = 0 }
      local message = entry(self.messages, note.protocol .. " " .. note.name, fresh)
      local kind = note.is_cut and "cut" or "count"
      message[kind], message.odd = message[kind] + 1, message.odd + note.odd
      message.faults = message.faults + note.faults
      if note.took then
        message.answered, message.took = message.answered + 1, message.took + note.took
        message.most = math.max(message.most, note.took)
      end
      if note.segment then
        local segment = entry(self.segments, note.segment, { asked = 0, blocks = 0, missing = 0, bytes = 0 })
        segment.asked = segment.asked + (note.asked or 0)
        if note.size then
          local source = entry(self.sources, note.source, { blocks = 0, missing = 0, bytes = 0 })
          local kind = note.size > 0 and "blocks" or "missing"
          for _, counts in ipairs({ segment, source }) do
            counts[kind], counts.bytes = counts[kind] + 1, counts.bytes + note.size
          end
        end
      end
    end
  end

  local function sorted(list)
    local names = {}
    for name in pairs(list) do
      names[#names + 1] = name
    end
    table.sort(names)
    return names
  end

  function self.text()
    local out = {}
    local function line(format, ...)
      out[#out + 1] = (string.format(format, ...):gsub("%s+$", ""))
    end
    line("%-36s %8s %8s %8s %8s %12s %12s", "message", "count", "cut off", "faults", "odd", "mean ms", "most ms")
    for _, name in ipairs(sorted(self.messages)) do
      local m = self.messages[name]
      local mean = m.answered > 0 and string.format("%.3f", 1000 * m.took / m.answered) or ""
      local most = m.answered > 0 and string.format("%.3f", 1000 * m.most) or ""
      line("%-36s %8.0f %8.0f %8.0f %8.0f %12s %12s", name, m.count, m.cut, m.faults, m.odd, mean, most)
    end
    line("")
    line("%-36s %8s %8s %8s %12s", "segment", "asked", "blocks", "not held", "bytes")
    for _, name in ipairs(sorted(self.segments)) do
      local s = self.segments[name]
      line("%-36s %8.0f %8.0f %8.0f %12.0f", name, s.asked, s.blocks, s.missing, s.bytes)
    end
    line("")
    line("%-36s %8s %8s %8s %12s", "blocks from", "", "blocks", "not held", "bytes")
    for _, name in ipairs(sorted(self.sources)) do
      local s = self.sources[name]
      line("%-36s %8s %8.0f %8.0f %12.0f", name, "", s.blocks, s.missing, s.bytes)
    end
    return table.concat(out, "\n") .. "\n"
  end

  function self.clear()
    self.messages, self.segments, self.sources = {}, {}, {}
  end

  return self
end
