-- Which message bytes are, and what they answer.

local T = tables.by_name
local REQUESTS = { [0] = T.MSG_NEGO_REQ, [2] = T.MSG_GETBLKLIST, [3] = T.MSG_GETBLKS, [6] = T.MSG_GETSEGLIST }
local RESPONSES = { [1] = T.MSG_NEGO_RESP, [4] = T.MSG_BLKLIST, [5] = T.MSG_BLK, [7] = T.MSG_SEGLIST }
local OFFERS = { T.INITIAL_OFFER_MESSAGE, T.SEGMENT_INFO_MESSAGE, T.BATCHED_OFFER_MESSAGE }
local RETRIEVAL = http.path(facts.retrieval_path)
local HOSTED_CACHE_1, HOSTED_CACHE_2 = http.path(facts.hosted_cache_path_1), http.path(facts.hosted_cache_path_2)

-- The most bytes of a message that are looked at, and of content information.
local MAX_MESSAGE, MAX_CONTENT_INFORMATION = 400 * 1024, 16 * 1024 * 1024
-- The most Probes whose answers may still come.
local MAX_PROBES = 4096

-- The most segment ids that are derived of one content information: here hashing is slow.
local MAX_DERIVED = 256

local LOST = "bytes of it were not captured"

-- What follows is forgotten with the capture: Probes by their MessageID, and what was found out about each message when
-- its frame was seen for the first time.
-- `derived` spares the work of deriving a segment id again.
local probes, probe_order, known, derived = {}, {}, {}, {}

function exchange.forget()
  probes, probe_order, known, derived = {}, {}, {}, {}
end

local function type_of(s, at)
  return #s >= at + 8 and basic.integer(s, at + 4, 4) or nil
end

local function request_at(path, s)
  local message_type = type_of(s, 0)
  if path == RETRIEVAL then
    return REQUESTS[message_type] or RESPONSES[message_type] or T.MSG_NEGO_REQ
  elseif path == HOSTED_CACHE_1 or path == HOSTED_CACHE_2 then
    local offer = path == HOSTED_CACHE_1 and T.INITIAL_OFFER_MESSAGE or T.BATCHED_OFFER_MESSAGE
    return s:sub(3, 4) == "\0\2" and T.SEGMENT_INFO_MESSAGE or offer
  end
end

local function response_at(path, s)
  local message_type = type_of(s, 4)
  if path == RETRIEVAL then
    return RESPONSES[message_type] or REQUESTS[message_type] or T.MSG_NEGO_RESP
  elseif path == HOSTED_CACHE_1 or path == HOSTED_CACHE_2 then
    return T.RESPONSE_MESSAGE
  end
end

local function plausible_type(s)
  if #s < 8 then
    return nil
  end
  local message_type = basic.integer(s, 4, 4)
  local is_version = basic.integer(s, 0, 2) == 0 and s:byte(3) == 0 and s:byte(4) >= 1 and s:byte(4) < 16
  local is_size = #s >= 12 and basic.integer(s, 8, 4) == #s
  return message_type <= 7 and (is_version or is_size) and message_type or nil
end

-- Which structure bytes are that nothing else tells about; of several the one that breaks the fewest rules.
local function recognise(s)
  local first, found, fewest = s:sub(1, 2), nil, nil
  local function candidate(structure)
    local count = 0
    for _, fault in ipairs(structure and walk.dissect(structure, s:sub(1, 65536)).faults or {}) do
      count = count + (fault.tolerated and 0 or 1)
    end
    if structure and (not fewest or count < fewest) then
      found, fewest = structure, count
    end
  end
  candidate(REQUESTS[plausible_type(s)])
  candidate(RESPONSES[plausible_type(s:sub(5))])
  if first == "\0\1" and s:sub(4, 6) == "\128\0\0" then
    candidate(T["CONTENT_INFORMATION_1.0"])
  elseif first == "\0\2" and (s:byte(3) == 1 or s:byte(3) == 4) then
    candidate(T["CONTENT_INFORMATION_2.0"])
  end
  if (first == "\0\1" or first == "\0\2") and s:byte(3) == 0 then
    candidate(OFFERS[s:byte(4)])
  end
  if #s == 5 and s:sub(1, 4) == "\0\0\0\1" then
    candidate(T.RESPONSE_MESSAGE)
  end
  return found
end

local function broken(tree, offset, rule, section)
  tree.faults[#tree.faults + 1] = { offset = offset, field = "", rule = rule, section = section, tolerated = false }
end

local function not_whole(tree, size, why)
  tree.is_cut = true
  broken(tree, size, "the message is not whole: " .. why, walk.section(tree))
end

local function read_body(structure, s, cut)
  local tree = walk.dissect(structure, s)
  if cut then
    not_whole(tree, #s, cut)
  end
  return tree
end

-- The body of a message, as `http.body` has it; why its bytes are not all, Wireshark knows better.
local function body_of(s, head, data, pinfo)
  local body, cut, where = http.body(s, head, data)
  return body, cut and pinfo.caplen < pinfo.len and LOST or cut, where
end

-- What the head of a message is to its connection; looked up where the frame was seen before. `cut` is a message that
-- is never whole, which may be found when all frames were seen.
local function pair(head, pinfo, stream, index, cut)
  local frame = known[pinfo.number] or {}
  known[pinfo.number] = frame
  if frame[index] or (pinfo.visited and not cut) then
    return frame[index] or {}
  end
  local found = {}
  if head.method then
    found.request = { method = head.method, path = http.path(head.target) }
    local is_answered = cut and cut.is_taken
    if not cut and index == 1 then
      is_answered = unfinished.is_taken(stream, pinfo.src_port)
    end
    if not is_answered then
      pairing.ask(stream, cut and cut.port or pinfo.src_port, http.size(head), found.request)
    end
  elseif head.status >= 200 then
    local has_none
    found.asked, has_none = pairing.answer(stream)
    local early = has_none and unfinished.take_request(stream, cut and cut.other or pinfo.dst_port)
    if early then
      found.asked = { method = early.method, path = http.path(early.target) }
    elseif has_none then
      pairing.lose(stream)
    end
    -- These have a length and no body.
    if head.status == 304 or found.asked and found.asked.method == "HEAD" then
      pairing.swallow(stream)
    end
    if found.asked and found.asked.shown then
      found.asked.answered = found.asked.answered or pinfo.number
    end
  end
  frame[index] = found
  return found
end

-- Takes an answer away from the request that it cannot be to; once, since its frame may be shown again.
local function reject(found, tree, stream, pinfo)
  local shown = found.asked.shown
  if found.is_judged or not shown then
    return
  end
  found.is_judged, found.is_rejected = true, pairing.is_of_another(stream, shown.asks, tree)
  if found.is_rejected and found.asked.answered == pinfo.number then
    found.asked.answered = nil
  end
end

-- The messages in one of HTTP: trees, each with the bytes that it is of, where they stand, and what it answers. `cut` as
-- above.
function exchange.http(head, s, data, pinfo, stream, index, cut)
  local found = pair(head, pinfo, stream, index, cut)
  local out = {}
  local function add(tree, body, where)
    tree.answers = found.asked and not found.is_rejected and found.asked.shown
    tree.answered = found.request
    tree.bytes, tree.where, tree.behind = body, where, head.size
    out[#out + 1] = tree
  end
  if head.method then
    local path = http.path(head.target)
    local body, cut, where
    if head.method == "POST" and request_at(path, "") then
      body, cut, where = body_of(s, head, data, pinfo)
      body = body:sub(1, MAX_MESSAGE)
      local tree = read_body(request_at(path, body), body, cut)
      if path == HOSTED_CACHE_2 and tree.name == "SEGMENT_INFO_MESSAGE" then
        broken(tree, 0, "a message of version 1.0, at the path of version 2.0", "MS-PCHC 2.1")
      end
      add(tree, body, where)
    else
      local tree = http.dissect(head)
      if tree then
        add(tree)
      end
    end
    if out[1] and found.request and not found.request.shown then
      found.request.shown = {
        frame = pinfo.number, time = pinfo.rel_ts, name = out[1].name, asks = pairing.asks(out[1]),
      }
    end
    return out
  end
  local asked = found.asked
  if head.status < 200 then
    return out
  end
  local function whole_body(most)
    local body, cut, where = body_of(s, head, data, pinfo)
    return body:sub(1, most), cut, where
  end
  local has_body = not (asked and asked.method == "HEAD") and head.status ~= 204 and head.status ~= 304
  if asked and asked.method == "POST" and response_at(asked.path, "") then
    if head.status == 200 then
      local body, cut, where = whole_body(MAX_MESSAGE)
      local tree = read_body(response_at(asked.path, body), body, cut)
      reject(found, tree, stream, pinfo)
      add(tree, body, where)
    else
      local structure = response_at(asked.path, has_body and whole_body(MAX_MESSAGE) or "")
      add(http.plain_answer(structure.protocol, structure.section, head))
    end
    return out
  end
  local tree = http.dissect(head)
  if tree then
    add(tree)
    if has_body and http.lists(head, "Content-Encoding", "peerdist") then
      local body, cut, where = whole_body(MAX_CONTENT_INFORMATION)
      local structure = T[body:sub(1, 2) == "\0\2" and "CONTENT_INFORMATION_2.0" or "CONTENT_INFORMATION_1.0"]
      add(read_body(structure, body, cut), body, where)
    end
    return out
  end
  if has_body and not asked then
    local body, cut, where = whole_body(MAX_MESSAGE)
    local structure = recognise(body)
    if structure then
      add(read_body(structure, body, cut), body, where)
      return out
    end
  end
  if asked and asked.shown then
    -- The content itself, though content information would have done.
    add(http.plain_answer("MS-PCCRTP", "2.2", head))
  end
  return out
end

-- Takes from a datagram without its end what was not read whole; its XML is not what is wrong.
local function cut_datagram(tree, s)
  local stop, whole = #basic.trim_xml("." .. s) - 1, {}
  for _, node in ipairs(tree.fields) do
    if node.offset + node.size < stop then
      whole[#whole + 1] = node
    end
  end
  tree.fields, tree.faults = whole, {}
  not_whole(tree, #s, LOST)
end

-- The message in a datagram of discovery, or nil. `is_cut` says whether its end was not captured.
function exchange.datagram(s, is_cut, pinfo)
  local tree = discovery.dissect(s)
  if not tree then
    return nil
  end
  if is_cut then
    cut_datagram(tree, s)
  end
  local frame = known[pinfo.number]
  if not frame and not pinfo.visited then
    frame = { answers = probes[tree.relates_to] }
    known[pinfo.number] = frame
    if frame.answers then
      frame.answers.answered = frame.answers.answered or pinfo.number
    end
    local id = tree.message_id
    if tree.name == "Probe" and id ~= "" and not probes[id] then
      if #probe_order == MAX_PROBES then
        probes[table.remove(probe_order, 1)] = nil
      end
      probe_order[#probe_order + 1] = id
      probes[id] = { shown = { frame = pinfo.number, time = pinfo.rel_ts, name = tree.name } }
      frame.request = probes[id]
    end
  end
  frame = frame or {}
  tree.answers = frame.answers and frame.answers.shown
  tree.answered = frame.request
  tree.bytes, tree.where = s, "data"
  return tree
end

-- Every segment that a message is about, in order and once; of content information those that follow from it.
function exchange.segment_ids(tree)
  local found, seen, algorithm = {}, {}, nil
  local NAMES = { SegmentID = true, SegmentId = true, Hash = true, SegmentHoHoDk = true }
  local function add(id)
    if not seen[id] and #id > 0 and #found < 1024 then
      seen[id] = true
      found[#found + 1] = id
    end
  end
  local function visit(nodes)
    local secret, hash
    for _, node in ipairs(nodes) do
      if node.name == "dwHashAlgo" then
        algorithm = node.value
      elseif node.name == "SegmentSecret" then
        secret = node.value
      elseif node.name == "SegmentHashOfData" then
        hash = node.value
      elseif node.kind == "bytes" and NAMES[node.name] then
        add(node.value)
      end
      local inside = node.inside or ((node.kind == "record" or node.kind == "list") and node.value)
      if inside then
        visit(inside)
      end
    end
    if secret and hash and #found < MAX_DERIVED then
      local key = (algorithm or "") .. secret .. hash
      derived[key] = derived[key] or sha2.segment_id(algorithm, secret, hash)
      add(derived[key])
    end
  end
  visit(tree.fields)
  return found
end
