-- Wireshark's side: protocols, fields, trees, expert information, columns.

local PROTOCOLS = {
  peerdist = "PeerDist (BranchCache)",
  pccrd = "MS-PCCRD: BranchCache discovery",
  pccrr = "MS-PCCRR: BranchCache retrieval",
  pchc = "MS-PCHC: BranchCache hosted cache",
  pccrtp = "MS-PCCRTP: BranchCache extension of HTTP",
  pccrc = "MS-PCCRC: BranchCache content information",
}

local protos, by_filter, lists, faults = {}, {}, {}, {}

for prefix, name in pairs(PROTOCOLS) do
  protos[prefix], lists[prefix] = Proto(prefix, name), {}
  local group, severity = expert.group, expert.severity
  faults[prefix] = {
    insisted = ProtoExpert.new(prefix .. ".fault", "A rule is broken", group.MALFORMED, severity.ERROR),
    tolerated = ProtoExpert.new(prefix .. ".odd", "A rule is broken, which receivers tolerate", group.PROTOCOL,
      severity.NOTE),
    cut = ProtoExpert.new(prefix .. ".cut", "Bytes of the message are missing in the capture", group.UNDECODED,
      severity.WARN),
  }
  protos[prefix].experts = { faults[prefix].insisted, faults[prefix].tolerated, faults[prefix].cut }
end

local function declare(filter, field)
  by_filter[filter] = field
  table.insert(lists[filter:match("^[^.]*")], field)
end

for _, declared in ipairs(fields.declared) do
  local filter, name, kind, values, note = declared[1], declared[2], declared[3], declared[4], declared[5]
  local shown = kind:find("^UINT") and base.DEC or kind == "STRING" and base.UNICODE or base.NONE
  declare(filter, ProtoField.new(name, filter, ftypes[kind], values, shown, nil, note))
end
declare("peerdist.message", ProtoField.new("Message", "peerdist.message", ftypes.STRING, nil, base.UNICODE, nil,
  "the document's name for it"))
declare("peerdist.segment_id", ProtoField.new("Segment", "peerdist.segment_id", ftypes.BYTES, nil, base.NONE, nil,
  "HoHoDk of a segment that the message is about"))
declare("peerdist.request_in", ProtoField.framenum("peerdist.request_in", "Request in", base.NONE, frametype.REQUEST,
  nil, "the frame of the request that this answers"))
declare("peerdist.response_in", ProtoField.framenum("peerdist.response_in", "Response in", base.NONE, frametype.RESPONSE,
  nil, "the frame of the first answer to this"))
declare("peerdist.time", ProtoField.relative_time("peerdist.time", "Time since the request",
  "from the last frame of the request to the last one of the response"))
for prefix, list in pairs(lists) do
  protos[prefix].fields = list
end

-- Text as Wireshark takes it: it ends at a zero byte.
local function shown_text(text)
  return (text:gsub("\0", "\\0"))
end

-- Bytes of a range, as far as it goes. Wireshark refuses none at its end: they stand before its last byte.
local function place(range, offset, size)
  local length = range:len()
  if length == 0 then
    return range
  end
  offset = math.min(offset, length)
  size = math.min(size, length - offset)
  return range:range(math.min(offset, length - 1), size)
end

-- Adds nodes below an item. `items` gets the innermost item at each offset, for what is to be said of it.
local function show(parent, nodes, range, items, in_list)
  for index, node in ipairs(nodes) do
    local at, item = place(range, node.offset, node.size), nil
    local field = by_filter[node.prefix .. "." .. (node.key or node.name):lower()]
    local is_structure = node.kind == "record" or node.kind == "list"
    if is_structure then
      item = in_list and parent:add(at, node.name .. " [" .. (index - 1) .. "]") or parent:add(field, at)
      if node.kind == "list" then
        item:append_text(": " .. #node.value)
      end
      show(item, node.value, range, items, node.kind == "list")
    elseif node.kind == "integer" then
      local is_version = node.field and node.field.version
      item = parent:add(field, at, is_version and walk.version_text(node.value) or node.value)
    elseif node.kind == "text" then
      item = parent:add(field, at, shown_text(node.value))
    elseif node.size > 0 then
      item = parent:add(field, at)
    end
    if node.inside then
      local inner = range
      if node.bytes then
        inner = ByteArray.new(node.bytes, true):tvb(node.name):range()
      end
      show(item, node.inside, inner, {}, false)
    end
    if item and not (is_structure and items[node.offset]) then
      items[node.offset] = item
    end
  end
end

local function fault_text(fault)
  local field = fault.field == "" and "" or fault.field .. ": "
  return "offset " .. basic.text(fault.offset) .. ": " .. field .. fault.rule .. " ([" .. fault.section .. "]"
    .. (fault.tolerated and ", tolerated)" or ")")
end

local function generated(parent, filter, value)
  local item = value and parent:add(by_filter[filter], value)
  if item then
    item:set_generated()
  end
end

-- Adds a message. `range` has its head, if any, and `data` what Wireshark has found to be its body.
local function message(root, tree, range, data, pinfo)
  if tree.where == "behind" then
    range = place(range, tree.behind, #tree.bytes)
  elseif tree.where == "data" then
    range = place(data, 0, #tree.bytes)
  elseif tree.bytes then
    range = ByteArray.new(tree.bytes, true):tvb("PeerDist message"):range()
  else
    range = place(range, 0, tree.size)
  end
  local top, items = root:add(protos[tree.prefix], range), {}
  local what = summary.what(tree)
  top:append_text(", " .. tree.name .. (what == "" and "" or ", " .. shown_text(what)))
  local link = top:add(protos.peerdist, place(range, 0, 0))
  link:append_text(", " .. tree.name)
  link:add(by_filter["peerdist.message"], place(range, 0, 0), tree.name):set_generated()
  for _, id in ipairs(exchange.segment_ids(tree)) do
    local bytes = ByteArray.new(id, true):tvb("Segment id"):range()
    link:add(by_filter["peerdist.segment_id"], bytes):set_generated()
  end
  if tree.answers then
    generated(link, "peerdist.request_in", tree.answers.frame)
    local took = math.floor((pinfo.rel_ts - tree.answers.time) * 1e9 + 0.5)
    generated(link, "peerdist.time", NSTime.new(math.floor(took / 1e9), math.floor(took % 1e9)))
  elseif tree.answered then
    generated(link, "peerdist.response_in", tree.answered.answered)
  end
  show(top, tree.fields, range, items, false)
  if tree.is_cut then
    top:add_proto_expert_info(faults[tree.prefix].cut)
  end
  for _, fault in ipairs(tree.faults) do
    local about = faults[tree.prefix][fault.tolerated and "tolerated" or "insisted"]
    local item = items[fault.offset] or top
    item:add_proto_expert_info(about, shown_text(fault_text(fault)))
  end
  summary.count(tree, pinfo)
  return tree.name .. (what == "" and "" or " " .. what)
end

-- Runs `read`. Nothing that is in a packet may end in an error of Lua; if it does all the same, this is told.
local function guarded(root, read)
  local is_good, found = pcall(read)
  if not is_good then
    local told = "the dissector failed: " .. tostring(found)
    root:add(protos.peerdist):add_proto_expert_info(faults.peerdist.insisted, told)
  end
  return is_good and found or nil
end

function protos.pccrd.dissector(tvb, pinfo, root)
  local text = guarded(root, function()
    local range = tvb:range()
    local tree = exchange.datagram(range:raw(), tvb:len() < tvb:reported_len(), pinfo)
    return tree and message(root, tree, range, range, pinfo)
  end)
  if not text then
    return 0
  end
  pinfo.cols.protocol, pinfo.cols.info = "PCCRD", shown_text(text)
  return tvb:len()
end

DissectorTable.get("udp.port"):add(facts.discovery_port, protos.pccrd)

-- How much of a datagram to another port is looked at.
local LOOKED_AT = 512

protos.pccrd:register_heuristic("udp", function(tvb, pinfo, root)
  local size = math.min(tvb:len(), LOOKED_AT)
  if size == 0 or not discovery.begins(tvb:range(0, size):raw()) then
    return false
  end
  return protos.pccrd.dissector(tvb, pinfo, root) > 0
end)

-- Messages over HTTP are read when the dissectors of TCP, TLS and HTTP are done: on any port, whatever the type of the
-- content.
local of_http, of_data, of_stream = Field.new("http"), Field.new("http.file_data"), Field.new("tcp.stream")
local of_payload, of_segment, of_sequence = Field.new("tcp.payload"), Field.new("tcp.segment_data"), Field.new("tcp.seq")
local of_tls, of_tls_segment = Field.new("tls"), Field.new("tls.segment.data")
local of_lost, of_late = Field.new("tcp.analysis.lost_segment"), Field.new("tcp.analysis.out_of_order")
local of_again, of_unseen = Field.new("tcp.analysis.retransmission"), Field.new("tcp.analysis.ack_lost_segment")
local of_acknowledged, of_length = Field.new("tcp.ack"), Field.new("tcp.len")
local of_syn, of_fin, of_reset = Field.new("tcp.flags.syn"), Field.new("tcp.flags.fin"), Field.new("tcp.flags.reset")

local function show_http(root, tree, range, data, pinfo)
  local text = message(root, tree, range, data, pinfo)
  pinfo.cols.protocol = tree.prefix:upper()
  pinfo.cols.info:append(" | " .. shown_text(text))
end

-- Notes what of a frame Wireshark keeps for later.
local function note_segments(pinfo, stream, has_http)
  local segments, payload, sequence = { of_segment() }, of_payload(), of_sequence()
  if payload and sequence then
    local last = segments[#segments]
    -- Where there is a message, bytes from the start of the payload on are the end of it.
    if last and has_http and last.offset == payload.offset then
      last = nil
    end
    local size = last and last.offset - payload.offset or payload.len
    if has_http then
      unfinished.done(stream, pinfo.src_port, sequence.value + size)
    end
    if last then
      unfinished.keep(stream, pinfo, sequence.value + size, last.range:raw())
    end
  end
end

-- The same of what was in TLS. The end of a message, which is among it, does not begin like one.
local function note_tls_segments(pinfo, stream, has_http)
  if has_http then
    unfinished.shown(stream, pinfo.src_port)
  end
  for _, segment in ipairs({ of_tls_segment() }) do
    unfinished.keep_next(stream, pinfo, segment.range:raw())
  end
end

local function is_set(field)
  local found = field()
  return found ~= nil and found.value
end

-- Notes what a frame says of the order of messages.
local function note_order(pinfo, stream)
  local sequence, acknowledged, length = of_sequence(), of_acknowledged(), of_length()
  pairing.packet(stream, {
    from = pinfo.src_port, to = pinfo.dst_port, is_first = is_set(of_syn),
    at = sequence and sequence.value or 0, size = length and length.value or 0,
    acknowledged = acknowledged and acknowledged.value or 0,
    is_odd = (of_lost() or of_late() or of_again() or of_unseen()) ~= nil, is_ahead = of_unseen() ~= nil,
    is_repeated = (of_again() or of_late()) ~= nil, is_lost = of_lost() ~= nil,
    is_waited_for = unfinished.has(stream, pinfo.src_port), is_awaited = unfinished.has(stream, pinfo.dst_port),
  })
end

-- Notes what will never be whole.
local function note_end(pinfo, stream)
  local is_reset = is_set(of_reset)
  if is_reset or is_set(of_fin) then
    unfinished.finish(stream, pinfo.src_port, pinfo.number)
  end
  if is_reset then
    unfinished.finish(stream, pinfo.dst_port, pinfo.number)
  end
end

local function show_unfinished(root, pinfo, stream)
  for _, cut in ipairs(unfinished.of(stream, pinfo)) do
    local s = unfinished.bytes(cut)
    local head = http.head(s)
    local trees = head and exchange.http(head, s, nil, pinfo, stream, "cut " .. cut.port, cut) or {}
    for _, tree in ipairs(trees) do
      tree.is_late = not cut.is_counted
      show_http(root, tree, ByteArray.new(s, true):tvb("Unfinished message"):range(), nil, pinfo)
    end
    cut.is_counted = true
  end
end

function protos.peerdist.dissector(_, pinfo, root)
  local items, stream = { of_http() }, of_stream()
  if #items == 0 and not stream then
    return
  end
  local bodies, body = { of_data() }, 1
  stream = stream and tostring(stream.value) or ""
  if stream ~= "" and not pinfo.visited then
    guarded(root, function() note_order(pinfo, stream) end)
  end
  for index, item in ipairs(items) do
    guarded(root, function()
      -- All that follows in the same bytes, or the head alone: Wireshark does the one or the other.
      local range = item.range
      local s = range:raw()
      local head, data = http.head(s), nil
      if not head then
        if not pinfo.visited then
          local note = http.begins_answer(s) and pairing.unread or pairing.lose
          note(stream)
        end
        return
      end
      if bodies[body] and http.owns(head, item.offset, bodies[body].offset) then
        data, body = bodies[body].range, body + 1
      end
      for _, tree in ipairs(exchange.http(head, s, data and data:raw(), pinfo, stream, index)) do
        show_http(root, tree, range, data, pinfo)
      end
    end)
  end
  if stream ~= "" then
    guarded(root, function()
      if not pinfo.visited then
        local note = of_tls() and note_tls_segments or note_segments
        note(pinfo, stream, #items > 0)
        note_end(pinfo, stream)
      end
      show_unfinished(root, pinfo, stream)
    end)
  end
end

function protos.peerdist.init()
  exchange.forget()
  pairing.forget()
  unfinished.forget()
  summary.forget()
end

register_postdissector(protos.peerdist)

-- Statistics: a window of Wireshark, or what tshark prints at the end with `-o peerdist.statistics:TRUE`.
protos.peerdist.prefs.statistics = Pref.bool("Print statistics (tshark)", false,
  "Print messages, segments and blocks at the end of the capture")

if gui_enabled() then
  register_menu("BranchCache messages and blocks", function()
    local window, counts = TextWindow.new("BranchCache messages and blocks"), summary.new()
    local tap = Listener.new("frame", "peerdist")
    tap.packet, tap.reset = counts.add, counts.clear
    function tap.draw()
      window:set(counts.text())
    end
    window:set_atclose(function() tap:remove() end)
    retap_packets()
  end, MENU_STAT_UNSORTED)
else
  local tap, counts = Listener.new("frame"), summary.new()
  tap.packet, tap.reset = counts.add, counts.clear
  function tap.draw()
    if protos.peerdist.prefs.statistics then
      print(counts.text())
    end
  end
end
