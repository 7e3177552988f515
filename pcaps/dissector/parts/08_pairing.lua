-- Which answer belongs to which request: HTTP says so by the order alone. Where packets are missing or changed places,
-- nobody knows it until no request is outstanding and the client asks again, having had all answers.

-- The most requests of one connection that wait for their answers.
local MAX_ASKED = 64
-- The most ranges of a request that are kept, and the longest segment id.
local MAX_RANGES, MAX_ID = 16, 64

local ANSWERS = {
  MSG_NEGO_REQ = "MSG_NEGO_RESP", MSG_GETBLKLIST = "MSG_BLKLIST", MSG_GETBLKS = "MSG_BLK", MSG_GETSEGLIST = "MSG_SEGLIST",
}

-- By number.
local connections = {}

function pairing.forget()
  connections = {}
end

-- A connection: the requests that wait for their answers, in order, and how many have none; by port, whether its begin
-- was seen, where what was seen of it ends, and what was acknowledged of it before anything was seen.
local function connection_of(stream)
  local found = connections[stream] or {
    asked = {}, outstanding = 0, is_unsure = false, is_doubtful = false, smallest = math.huge, begun = {}, ends = {},
    first = {}, has_had_all = true, is_late = false,
  }
  connections[stream] = found
  return found
end

local function lose(connection)
  connection.asked, connection.is_unsure = {}, true
end

-- Takes note of a packet: `packet` has its ports, where it begins and ends in the bytes of its sender, what it
-- acknowledges, whether it is the first of its sender, whether it changed places with others, whether it acknowledges what
-- was not seen yet, and whether bytes before it are lost.
function pairing.packet(stream, packet)
  local connection = connection_of(stream)
  if packet.is_first then
    connection.begun[packet.from] = true
  end
  if packet.size == 0 then
    return
  end
  -- Bytes before those that Wireshark counts from have numbers below zero.
  local at = packet.at < 2 ^ 31 and packet.at or packet.at - 2 ^ 32
  local before, stop = connection.ends[packet.from], at + packet.size
  local others = connection.ends[packet.to]
  if not others then
    connection.first[packet.to] = connection.first[packet.to] or packet.acknowledged
    others = connection.first[packet.to]
  end
  local is_ahead = packet.is_ahead or packet.acknowledged > others
  connection.is_doubtful = connection.is_doubtful or packet.is_odd or is_ahead or not connection.begun[packet.from]
  connection.has_had_all = packet.acknowledged == others and not is_ahead
  connection.is_late = stop <= (connection.first[packet.from] or -math.huge)
  connection.ends[packet.from] = math.max(before or connection.first[packet.from] or stop, stop)
  if is_ahead then
    -- Wireshark may leave out what comes behind its acknowledgement.
    lose(connection)
  end
  if not packet.is_lost then
    return
  end
  -- There may be requests among what was lost, or answers.
  lose(connection)
  if not connection.client or connection.client == packet.from then
    local bytes = before and math.max(at - before, 0) or 0
    connection.outstanding = connection.outstanding + math.max(math.ceil(bytes / connection.smallest), 1)
  elseif connection.outstanding == 1 then
    connection.outstanding = 0
  end
end

-- A request comes, with head and body of this size.
function pairing.ask(stream, port, size, request)
  local connection = connection_of(stream)
  connection.client, connection.smallest = port, math.min(connection.smallest, size)
  if connection.outstanding == 0 and connection.has_had_all then
    connection.is_unsure = false
  end
  connection.outstanding = connection.outstanding + 1
  if connection.outstanding > MAX_ASKED then
    lose(connection)
  elseif not connection.is_unsure then
    connection.asked[#connection.asked + 1] = request
  end
end

-- The request that is answered now, and whether it is known that there is none.
function pairing.answer(stream)
  local connection = connection_of(stream)
  if connection.is_late then
    -- Its request came before the capture.
    return nil, false
  end
  connection.outstanding = math.max(connection.outstanding - 1, 0)
  if connection.is_unsure then
    return nil, false
  end
  local asked = table.remove(connection.asked, 1)
  return asked, not asked
end

-- The answer to no request that was seen: its request may be behind it.
function pairing.unasked(stream)
  lose(connection_of(stream))
end

-- An answer came of which nobody can say more.
function pairing.unread(stream)
  pairing.answer(stream)
  local connection = connection_of(stream)
  if connection.outstanding > 0 then
    lose(connection)
  end
end

local function id_of(tree, name)
  local node = walk.find(tree.fields, name)
  return node and node.kind == "bytes" and node.value or nil
end

local function is_whole(nodes)
  for _, node in ipairs(nodes) do
    local is_structure = node.kind == "record" or node.kind == "list"
    if node.name == "_rest" or is_structure and not is_whole(node.value) then
      return false
    end
  end
  return true
end

-- What of a request tells answers to it from others; what was not read whole does not.
function pairing.asks(tree)
  local asks, id, list = { name = tree.name }, id_of(tree, "SegmentID"), walk.find(tree.fields, "ReqBlockRanges")
  asks.segment = id and #id <= MAX_ID and id or nil
  if list and list.kind == "list" and #list.value <= MAX_RANGES and is_whole(list.value) then
    asks.ranges = {}
    for index, range in ipairs(list.value) do
      asks.ranges[index] = { walk.integer(range.value, "Index") or 0, walk.integer(range.value, "Count") or 0 }
    end
  end
  return asks
end

local function has_block(asks, tree)
  local index = walk.integer(tree.fields, "BlockIndex")
  -- A block that is not held may have the index 0.
  if not asks.ranges or not index or (index == 0 and (walk.integer(tree.fields, "SizeOfBlock") or 0) == 0) then
    return true
  end
  for _, range in ipairs(asks.ranges) do
    if index >= range[1] and index - range[1] < range[2] then
      return true
    end
  end
  return false
end

-- Whether an answer may be to a request, right or wrong. Any request may be answered with the versions.
local function fits(asks, tree)
  local expected = ANSWERS[asks.name]
  if not expected then
    return true
  elseif tree.name ~= expected then
    return tree.name == "MSG_NEGO_RESP"
  end
  local id = id_of(tree, "SegmentId")
  return (not asks.segment or not id or asks.segment == id) and has_block(asks, tree)
end

-- Whether an answer cannot be to the request that its place says: something was lost that was not seen. On a connection
-- of which all was seen, in order, it is a wrong answer.
function pairing.is_of_another(stream, asks, tree)
  local connection = connection_of(stream)
  if not asks or not connection.is_doubtful or fits(asks, tree) then
    return false
  end
  lose(connection)
  return true
end
