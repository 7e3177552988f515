-- Messages of HTTP over TCP or TLS that are never whole: Wireshark waits for the rest of them and shows nothing. What it waits
-- with is kept here until it has the message, or until the connection or the capture ends.

-- The most bytes of a direction that are kept: a head and a body of each kind.
local MAX_KEPT, MAX_KEPT_CODED = 464 * 1024, 16 * 1024 * 1024 + 64 * 1024

-- By connection and port of the sender: the message that waits, and how far the messages before it went. By frame: what
-- ended with it.
local waiting, passed, ended = {}, {}, {}

function unfinished.forget()
  waiting, passed, ended = {}, {}, {}
end

local function key(stream, port)
  return stream .. " " .. port
end

-- Wireshark has shown everything of this direction before a sequence number.
function unfinished.done(stream, port, sequence)
  waiting[key(stream, port)] = nil
  passed[key(stream, port)] = sequence
end

-- Takes bytes that Wireshark keeps for later.
function unfinished.keep(stream, pinfo, sequence, bytes)
  local place = key(stream, pinfo.src_port)
  if sequence < (passed[place] or 0) then
    return
  end
  local message = waiting[place]
  if not message then
    if not http.begins(bytes) then
      return
    end
    local head = http.head(bytes)
    local is_coded = head and http.lists(head, "Content-Encoding", "peerdist")
    message = { port = pinfo.src_port, other = pinfo.dst_port, parts = {}, size = 0 }
    message.most = is_coded and MAX_KEPT_CODED or MAX_KEPT
    waiting[place] = message
  end
  message.last, message.next = pinfo.number, sequence + #bytes
  if message.size < message.most then
    message.parts[#message.parts + 1] = { sequence, bytes }
    message.size = message.size + #bytes
  end
end

-- The same for bytes of TLS, which come in order and without numbers; before them it has shown what was whole.
function unfinished.shown(stream, port)
  waiting[key(stream, port)] = nil
end

function unfinished.keep_next(stream, pinfo, bytes)
  local message = waiting[key(stream, pinfo.src_port)]
  unfinished.keep(stream, pinfo, message and message.next or 0, bytes)
end

-- No more will come in this direction.
function unfinished.finish(stream, port, frame)
  local place = key(stream, port)
  if waiting[place] then
    ended[frame] = ended[frame] or {}
    table.insert(ended[frame], waiting[place])
    waiting[place] = nil
  end
end

-- What is known to be unfinished when this frame is shown: what ended with it, and, once all frames were seen, what has
-- its last bytes here.
function unfinished.of(stream, pinfo)
  local last = waiting[key(stream, pinfo.src_port)]
  if pinfo.visited and last and last.last == pinfo.number then
    return { last }
  end
  return ended[pinfo.number] or {}
end

-- The bytes of such a message, up to the first that is missing.
function unfinished.bytes(message)
  local out, at = {}, nil
  table.sort(message.parts, function(one, other) return one[1] < other[1] end)
  for _, part in ipairs(message.parts) do
    local sequence, bytes = part[1], part[2]
    at = at or sequence
    if sequence > at then
      break
    end
    local fresh = bytes:sub(at - sequence + 1)
    out[#out + 1], at = fresh, at + #fresh
  end
  return table.concat(out)
end

-- Whether a message of this direction waits for the rest of it.
function unfinished.has(stream, port)
  return waiting[key(stream, port)] ~= nil
end

-- The head of a request of which more is to come, for its answer that does not wait for it; once. `port` is who asks.
function unfinished.take_request(stream, port)
  local message = waiting[key(stream, port)]
  if not message or message.is_taken then
    return nil
  end
  -- Many answers may ask for it: it is read again only where more of it has come.
  if message.size_read ~= message.size then
    message.size_read, message.head = message.size, http.head(unfinished.bytes(message))
  end
  if message.head and message.head.method then
    message.is_taken = true
    return message.head
  end
end

-- Whether the request that this port sends, or has just sent, has had its answer.
function unfinished.is_taken(stream, port)
  local message = waiting[key(stream, port)]
  return message and message.is_taken
end
