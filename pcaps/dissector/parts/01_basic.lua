-- Numbers and bytes. Integers of eight bytes are UInt64 objects, all others are numbers. No bit operators and no
-- integer division here: the Lua of Wireshark is 5.2 up to version 4.2 and 5.4 from then on.

-- A number in decimal digits, without a fraction whatever the version of Lua.
function basic.text(value)
  return type(value) == "number" and string.format("%.0f", value) or tostring(value)
end

function basic.counted(count)
  return count == 1 and "1 byte" or basic.text(count) .. " bytes"
end

function basic.big(value)
  return type(value) == "number" and UInt64.new(value) or value
end

-- The integer of `width` bytes behind the first `at` bytes of `s`.
function basic.integer(s, at, width, little)
  if width == 8 then
    local first, second = basic.integer(s, at, 4, little), basic.integer(s, at + 4, 4, little)
    return little and UInt64.new(first, second) or UInt64.new(second, first)
  end
  local value = 0
  for i = 1, width do
    value = value * 256 + s:byte(at + (little and width + 1 - i or i))
  end
  return value
end

-- The sum of two UInt64; nil where it has more than 64 bits.
function basic.checked_add(a, b)
  local sum = a + b
  return sum >= a and sum or nil
end

function basic.saturating_add(a, b)
  return basic.checked_add(a, b) or UInt64.new(0xffffffff, 0xffffffff)
end

function basic.saturating_sub(a, b)
  return a > b and a - b or UInt64.new(0)
end

-- a / b, rounded up, of numbers.
function basic.div_ceil(a, b)
  return math.floor((a + b - 1) / b)
end

-- A whole number that is written in decimal digits, as UInt64; nil where it is none, or has more than 64 bits.
function basic.decimal(text)
  local digits = text:match("^%+?(%d+)$")
  -- One zero stays where there is nothing else.
  digits = digits and digits:sub(digits:find("[1-9]") or #digits)
  if not digits or #digits > 20 or (#digits == 20 and digits > "18446744073709551615") then
    return nil
  end
  local value = UInt64.new(0)
  for digit in digits:gmatch("%d") do
    value = value * UInt64.new(10) + UInt64.new(tonumber(digit))
  end
  return value
end

-- Text without the blanks around it. In linear time: a pattern that has to match up to the end tries every run of
-- blanks inside.
local function trimmed(text, blanks)
  local stop = #text
  while stop > 0 and blanks:find(text:sub(stop, stop), 1, true) do
    stop = stop - 1
  end
  return text:sub(text:find("[^" .. blanks .. "]") or 1, stop)
end

-- The white space of XML (1.0, 2.3) and of lists in it.
function basic.trim_xml(text)
  return trimmed(text, " \t\r\n")
end

-- The white space around the values of headers (RFC 9110 5.6.3).
function basic.trim_http(text)
  return trimmed(text, " \t")
end

-- The bytes that hexadecimal digits stand for, or nil.
function basic.from_hex(text)
  if #text % 2 ~= 0 or text:find("[^%x]") then
    return nil
  end
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

function basic.to_hex(bytes)
  return (bytes:gsub(".", function(byte) return string.format("%02X", byte:byte()) end))
end

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local VALUES = {}
for i = 1, #DIGITS do
  VALUES[DIGITS:byte(i)] = i - 1
end

-- The bytes of base64 (RFC 4648, 4), or nil. The padding may be left out, unless `is_strict`.
function basic.from_base64(text, is_strict)
  local digits, padding = text:match("^([%w+/]*)(=*)$")
  local over = digits and #digits % 4
  if is_strict and digits and (over + #padding) % 4 ~= 0 then
    return nil
  end
  if not digits or over == 1 or #padding > 2 or (#padding > 0 and over + #padding ~= 4) then
    return nil
  end
  local parts = {}
  for at = 1, #digits, 4 do
    local value, count = 0, math.min(4, #digits - at + 1)
    for i = 0, 3 do
      value = value * 64 + (i < count and VALUES[digits:byte(at + i)] or 0)
    end
    local left = value % 2 ^ (8 * (4 - count))
    if left ~= 0 then
      return nil
    end
    local three = string.char(math.floor(value / 65536), math.floor(value / 256) % 256, value % 256)
    parts[#parts + 1] = three:sub(1, count - 1)
  end
  return table.concat(parts)
end
