-- The rules between fields, under their names in the tables. They look at the tree alone.

local BLOCK_SIZE, SEGMENT_SIZE, LARGEST_BLOCK = 65536, 33554432, 131072
local MAX_BLOCKS = 512
local END_OF_CONTENT = UInt64.new(0, 0x80000000)
-- The most block hashes of one message that are hashed, in bytes: here this is slow.
local MAX_HASHED = 1048576

local function node(fields, name)
  for _, field in ipairs(fields) do
    if field.name == name then
      return field
    end
  end
end

local function get(fields, name)
  local found = node(fields, name)
  return found and found.kind == "integer" and found.value or 0
end

local function items(fields, name)
  local found = node(fields, name)
  return found and type(found.value) == "table" and found.value or {}
end

local function offset(fields, name)
  local found = node(fields, name)
  return found and found.offset or 0
end

-- The fields of an item; none of one that could not be read.
local function inside(item)
  return item and type(item.value) == "table" and item.value or {}
end

local function ranges(fields, walker, limit, tolerated)
  local list
  for _, name in ipairs({ "NeededBlockRanges", "ReqBlockRanges", "BlockRanges", "SegmentRanges" }) do
    list = list or node(fields, name)
  end
  for position, range in ipairs(list and list.value or {}) do
    local index, count = get(inside(range), "Index"), get(inside(range), "Count")
    local rule
    if count == 0 then
      rule = "an empty range"
    elseif limit and index + count > limit then
      rule = basic.text(count) .. " blocks from " .. basic.text(index) .. " on, where a segment has "
        .. MAX_BLOCKS .. " at most"
    elseif index + count > 0xffffffff then
      rule = basic.text(count) .. " positions from " .. basic.text(index) .. " on end beyond 32 bits"
    end
    if rule then
      walker:broken(range.offset, list.name .. "[" .. (position - 1) .. "]", rule, tolerated)
    end
  end
end

function check.BlockRanges(fields, walker)
  ranges(fields, walker, MAX_BLOCKS, false)
end

function check.RequestedRanges(fields, walker)
  ranges(fields, walker, MAX_BLOCKS, true)
end

function check.SegmentRanges(fields, walker)
  ranges(fields, walker, nil, false)
end

function check.OneBlock(fields, walker)
  local list, blocks = items(fields, "ReqBlockRanges"), 0
  for _, range in ipairs(list) do
    blocks = blocks + get(inside(range), "Count")
  end
  if #list ~= 1 or blocks ~= 1 then
    local rule = basic.text(blocks) .. " blocks in " .. #list .. " ranges, where one block is due"
    walker:broken(offset(fields, "ReqBlockRangeCount"), "ReqBlockRanges", rule, true)
  end
end

function check.InitialisationVector(fields, walker)
  local algorithm = get(items(fields, "MESSAGE_HEADER"), "CryptoAlgoId")
  local is_encrypted = algorithm ~= 0 and get(fields, "SizeOfBlock") ~= 0
  local size = get(fields, "SizeOfIVBlock")
  if size ~= 16 and (is_encrypted or size ~= 0) then
    local rule = "an initialisation vector of " .. basic.text(size) .. " bytes, where 16 are due"
    walker:broken(offset(fields, "SizeOfIVBlock"), "SizeOfIVBlock", rule, false)
  end
end

local function ends_beyond(start, size)
  local last = basic.checked_add(start, size)
  return not last or last > END_OF_CONTENT
end

function check.Segments1(fields, walker)
  local segments, expected = items(fields, "segments"), nil
  for index, item in ipairs(segments) do
    local segment = inside(item)
    local start, size = basic.big(get(segment, "ullOffsetInContent")), get(segment, "cbSegment")
    local function broken(field, rule)
      walker:broken(offset(segment, field), "segments[" .. (index - 1) .. "]." .. field, rule, false)
    end
    if expected then
      if start ~= expected then
        broken("ullOffsetInContent", tostring(start) .. ", where the segment before ends at " .. tostring(expected))
      end
    elseif start % UInt64.new(SEGMENT_SIZE) ~= UInt64.new(0) then
      broken("ullOffsetInContent", tostring(start) .. " is no multiple of " .. SEGMENT_SIZE)
    end
    if index < #segments and size ~= SEGMENT_SIZE then
      broken("cbSegment", basic.text(size) .. ", where every segment but the last has " .. SEGMENT_SIZE)
    end
    if ends_beyond(start, basic.big(size)) then
      broken("ullOffsetInContent", "the segment ends beyond 2^63")
    end
    expected = basic.saturating_add(start, basic.big(size))
  end
end

-- Where the range begins and ends in the content, as far as the fields make sense.
local function described(fields)
  local segments = items(fields, "segments")
  if #segments == 0 then
    return nil
  end
  local first, last = inside(segments[1]), inside(segments[#segments])
  local in_first = basic.big(get(fields, "dwOffsetInFirstSegment"))
  local start = basic.checked_add(basic.big(get(first, "ullOffsetInContent")), in_first)
  local last_start = basic.big(get(last, "ullOffsetInContent"))
  local stop = basic.checked_add(last_start, basic.big(get(last, "cbSegment")))
  if not start or not stop then
    return nil
  end
  local read = get(fields, "dwReadBytesInLastSegment")
  if read ~= 0 then
    stop = basic.checked_add(#segments == 1 and start or last_start, basic.big(read))
  end
  if stop then
    return start, stop
  end
end

local function offset_in_first(fields, size, walker)
  local field = "dwOffsetInFirstSegment"
  local value = get(fields, field)
  if value >= size then
    local rule = basic.text(value) .. ", where the first segment has " .. basic.text(size) .. " bytes"
    walker:broken(offset(fields, field), field, rule, false)
  end
end

function check.Range1(fields, walker)
  local segments = items(fields, "segments")
  if #segments == 0 then
    return
  end
  offset_in_first(fields, get(inside(segments[1]), "cbSegment"), walker)
  local _, stop = described(fields)
  local last = inside(segments[#segments])
  local available = basic.saturating_add(basic.big(get(last, "ullOffsetInContent")), basic.big(get(last, "cbSegment")))
  if stop and stop > available then
    local field = "dwReadBytesInLastSegment"
    local rule = "the range ends at " .. tostring(stop) .. ", the last segment at " .. tostring(available)
    walker:broken(offset(fields, field), field, rule, false)
  end
end

-- A complete list of block hashes hashes to HoD.
local function hash_of_data(fields, index, segment, list, walker)
  local hash, hashes = sha2.of_version_1(get(fields, "dwHashAlgo")), {}
  for _, item in ipairs(items(list, "BlockHashes")) do
    hashes[#hashes + 1] = item.kind == "bytes" and item.value or ""
  end
  local known, hashes = node(segment, "SegmentHashOfData"), table.concat(hashes)
  walker.hashed = (walker.hashed or 0) + #hashes
  if hash and known and walker.hashed <= MAX_HASHED and known.value ~= hash(hashes) then
    local field = "segments[" .. index .. "].SegmentHashOfData"
    walker:broken(known.offset, field, "the block hashes do not hash to it", false)
  end
end

function check.BlockLists1(fields, walker)
  local start, stop = described(fields)
  local segments, lists = items(fields, "segments"), items(fields, "blocks")
  for index = 1, start and math.min(#segments, #lists) or 0 do
    local segment, list = inside(segments[index]), lists[index]
    local from, size = basic.big(get(segment, "ullOffsetInContent")), get(segment, "cbSegment")
    local total = basic.div_ceil(size, BLOCK_SIZE)
    local begin = start > from and start or from
    local finish = basic.saturating_add(from, basic.big(size))
    finish = stop < finish and stop or finish
    finish = basic.saturating_sub(basic.saturating_sub(finish, UInt64.new(1)), from)
    local first = math.floor(basic.saturating_sub(begin, from):tonumber() / BLOCK_SIZE)
    local last = math.floor(finish:tonumber() / BLOCK_SIZE)
    local count = get(inside(list), "cBlocks")
    if count ~= total and count ~= last + 1 and count ~= math.max(last - first, 0) + 1 then
      local rule = basic.text(count) .. " blocks, where the range covers blocks " .. basic.text(first) .. " to "
        .. basic.text(last) .. " of " .. basic.text(total)
      walker:broken(list.offset, "blocks[" .. (index - 1) .. "].cBlocks", rule, false)
    elseif count == total then
      hash_of_data(fields, index - 1, segment, inside(list), walker)
    end
  end
end

function check.OfferedSegment(fields, walker)
  local segments, lists = items(fields, "segments"), items(fields, "blocks")
  if #segments == 0 or #lists == 0 then
    return
  end
  local segment, list = inside(segments[1]), lists[1]
  local size = get(segment, "cbSegment")
  if ends_beyond(basic.big(get(segment, "ullOffsetInContent")), basic.big(size)) then
    local field = "ullOffsetInContent"
    walker:broken(offset(segment, field), "segments[0]." .. field, "the segment ends beyond 2^63", false)
  end
  offset_in_first(fields, size, walker)
  local count, total = get(inside(list), "cBlocks"), basic.div_ceil(size, BLOCK_SIZE)
  if count == 0 or count > total then
    local rule = basic.text(count) .. " blocks of a segment that has " .. basic.text(total)
    walker:broken(list.offset, "blocks[0].cBlocks", rule, false)
  elseif count == total then
    hash_of_data(fields, 0, segment, inside(list), walker)
  end
end

-- The segments of all chunks.
local function segments_of_2(fields)
  local all = {}
  for _, chunk in ipairs(items(fields, "chunks")) do
    for _, segment in ipairs(items(inside(chunk), "segments")) do
      all[#all + 1] = segment
    end
  end
  return all
end

function check.Segments2(fields, walker)
  local start, index = basic.big(get(fields, "ullStartInContent")), basic.big(get(fields, "ullIndexOfFirstSegment"))
  local stop = start
  for position, segment in ipairs(segments_of_2(fields)) do
    local size = basic.big(get(inside(segment), "cbSegment"))
    if ends_beyond(stop, size) then
      walker:broken(segment.offset, "chunks", "segment " .. (position - 1) .. " ends beyond 2^63", false)
      return
    end
    stop = stop + size
  end
  local most = UInt64.new(0xffffffff, 0xffffffff)
  local largest = index > most / UInt64.new(LARGEST_BLOCK) and most or index * UInt64.new(LARGEST_BLOCK)
  if start < index or start > largest then
    local field = "ullIndexOfFirstSegment"
    local rule = "the first segment cannot be number " .. tostring(index) .. " and begin at " .. tostring(start)
    walker:broken(offset(fields, field), field, rule, true)
  end
end

function check.Range2(fields, walker)
  local segments, total = segments_of_2(fields), UInt64.new(0)
  if #segments == 0 then
    return
  end
  offset_in_first(fields, get(inside(segments[1]), "cbSegment"), walker)
  for _, segment in ipairs(segments) do
    total = basic.saturating_add(total, basic.big(get(inside(segment), "cbSegment")))
  end
  local available = basic.saturating_sub(total, basic.big(get(fields, "dwOffsetInFirstSegment")))
  local field, length = "ullLengthOfRange", basic.big(get(fields, "ullLengthOfRange"))
  if length > available then
    local rule = tostring(length) .. " bytes, where the segments have " .. tostring(available)
      .. " from the range's begin on"
    walker:broken(offset(fields, field), field, rule, false)
  end
  local last = basic.big(get(inside(segments[#segments]), "cbSegment"))
  if length > UInt64.new(0) and length <= basic.saturating_sub(available, last) and total > last then
    walker:broken(offset(fields, field), field, "the last segment lies behind the range", true)
  end
end

function check.Descriptor(fields, walker)
  local block, segment = get(fields, "BlockSize"), get(fields, "SegmentSize")
  local truncated_sha512 = 4
  if get(fields, "HashAlgorithm") == truncated_sha512 and segment > LARGEST_BLOCK then
    local rule = basic.text(segment) .. ", where a segment of version 2.0 has " .. LARGEST_BLOCK .. " at most"
    walker:broken(offset(fields, "SegmentSize"), "SegmentSize", rule, false)
  end
  local count = block == 0 and 0 or basic.div_ceil(segment, block)
  if count < 1 or count > MAX_BLOCKS or math.min(block, segment) > LARGEST_BLOCK then
    local rule = "blocks of " .. basic.text(block) .. " bytes in a segment of " .. basic.text(segment)
    walker:broken(offset(fields, "BlockSize"), "BlockSize", rule, false)
  end
end
