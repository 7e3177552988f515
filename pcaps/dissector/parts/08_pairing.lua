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

-- A connection: the requests that wait for their answers, in order, and how many have none; by port, whether its begin was
-- seen, where what was seen of it ends, and how much of the other side it had when it said something last.
local function connection_of(stream)
  local found = connections[stream] or {
    asked = {}, outstanding = 0, is_unsure = false, is_doubtful = false, smallest = math.huge, begun = {}, ends = {},
    answered = {}, is_fresh = true,
  }
  connections[stream] = found
  return found
end

local function lose(connection)
  connection.asked, connection.is_unsure = {}, true
end

-- Bytes before those that Wireshark counts from have numbers below zero.
local function position(sequence)
  return sequence < 2 ^ 31 and sequence or sequence - 2 ^ 32
end

-- Takes note of a packet: `packet` has its ports, where it begins in the bytes of its sender, their number, what it
-- acknowledges, whether it is the first of its sender, whether Wireshark says that it changed places with others, was sent
-- before, or acknowledges what was not seen yet, whether bytes before it are lost, and whether a message waits for more
-- from its sender, or from the other side.
function pairing.packet(stream, packet)
  local connection = connection_of(stream)
  local from, to = packet.from, packet.to
  local at = position(packet.at)
  local stop, acknowledged = at + packet.size, position(packet.acknowledged)
  if packet.is_first then
    connection.begun[from], connection.ends[from] = true, connection.ends[from] or at + 1
  end
  connection.packet = nil
  if packet.size == 0 and not packet.is_first then
    -- What is told of an acknowledgement alone is true all the same.
    if packet.is_ahead or packet.is_lost then
      connection.is_doubtful = true
      lose(connection)
    end
    return
  end
  local others = connection.ends[to]
  if packet.size == 0 then
    if packet.acknowledged > 0 then
      connection.ends[to] = others or acknowledged
    end
    return
  end
  local before = connection.ends[from]
  others = others or acknowledged
  connection.ends[to] = others
  local is_ahead, is_missing = packet.is_ahead or acknowledged > others, packet.is_lost or before and at > before
  connection.is_doubtful = connection.is_doubtful or packet.is_odd or is_ahead or is_missing or not connection.begun[from]
  -- Who asks anew has had all, and nobody has answered since.
  connection.is_fresh = acknowledged >= others and not is_ahead and at >= (connection.answered[to] or at)
    and not connection.is_interrupted
  connection.is_interrupted = connection.is_interrupted or packet.is_awaited
  connection.packet = { at = at, stop = stop, acknowledged = acknowledged }
  connection.answered[from] = math.max(connection.answered[from] or acknowledged, acknowledged)
  connection.ends[from] = math.max(before or stop, stop)
  local is_repeated = packet.is_repeated and (not before or stop > before)
  if is_ahead or is_repeated then
    -- Wireshark leaves out what comes behind its acknowledgement, or what it takes for said before.
    lose(connection)
  end
  if not is_missing then
    return
  end
  -- There may be requests among what was lost, or answers.
  lose(connection)
  if not connection.client or connection.client == from then
    local bytes = before and math.max(at - before, 0) or 0
    connection.outstanding = connection.outstanding + math.max(math.ceil(bytes / connection.smallest), 1)
  elseif connection.outstanding == 1 and not packet.is_waited_for then
    connection.outstanding = 0
  end
end

-- A request comes, with head and body of this size.
function pairing.ask(stream, port, size, request)
  local connection = connection_of(stream)
  connection.client, connection.smallest = port, math.min(connection.smallest, size)
  if connection.outstanding == 0 and connection.is_fresh then
    connection.is_unsure = false
  end
  connection.is_interrupted = false
  connection.outstanding = connection.outstanding + 1
  if connection.outstanding > MAX_ASKED then
    lose(connection)
  elseif not connection.is_unsure then
    connection.asked[#connection.asked + 1] = { request = request, packet = connection.packet }
  end
end

-- Whether an answer in a packet may be to a request in another: who answers has had it, and who asked had not had the
-- answer.
local function may_have(asked, answer)
  return not (asked and answer) or answer.acknowledged > asked.at and answer.stop > asked.acknowledged
end

-- The request that is answered now, and whether it is known that there is none.
function pairing.answer(stream)
  local connection = connection_of(stream)
  connection.outstanding = math.max(connection.outstanding - 1, 0)
  if connection.is_unsure then
    return nil, false
  end
  local asked = table.remove(connection.asked, 1)
  if asked and not may_have(asked.packet, connection.packet) then
    lose(connection)
    return nil, false
  end
  return asked and asked.request, not asked
end

-- Something came that nobody can say more of, or an answer to no request that was seen: its request may be behind it.
function pairing.lose(stream)
  lose(connection_of(stream))
end

-- An answer came that Wireshark may take for more than it is, with the ones behind it.
function pairing.swallow(stream)
  local connection = connection_of(stream)
  if connection.outstanding > 0 then
    lose(connection)
  end
end

-- An answer came of which nobody can say more.
function pairing.unread(stream)
  pairing.answer(stream)
  pairing.swallow(stream)
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
