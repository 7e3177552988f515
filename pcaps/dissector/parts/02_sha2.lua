-- SHA-256, SHA-384, SHA-512 (FIPS 180-4) and HMAC (RFC 2104) on strings: Wireshark has no hashes for Lua.

-- BitOp up to Lua 5.2; operators from 5.3 on, which 5.2 cannot read.
local ops = bit or bit32 or load([[return {
  band = function(a, b) return a & b end,
  bxor = function(a, b, c) return a ~ b ~ (c or 0) end,
  rshift = function(a, n) return (a & 0xffffffff) >> n end,
  lshift = function(a, n) return a << n & 0xffffffff end,
}]])()
local band, bxor, rshift, lshift = ops.band, ops.bxor, ops.rshift, ops.lshift
local WORD = 2 ^ 32

-- The first `count` primes have the constants: fractions of their square and cube roots.
local function primes(count)
  local found, candidate = {}, 2
  while #found < count do
    local is_prime = true
    for _, prime in ipairs(found) do
      is_prime = is_prime and candidate % prime ~= 0
    end
    if is_prime then
      found[#found + 1] = candidate
    end
    candidate = candidate + 1
  end
  return found
end

-- The first 64 bits of the fraction of the `power`-th root of `n`, as two words. Found bit by bit, with whole numbers
-- of 16 bits a digit, as a number has 53 bits only.
local function multiply(a, b)
  local product = {}
  for i = 1, #a + #b do
    product[i] = 0
  end
  for i = 1, #a do
    local carry = 0
    for j = 1, #b do
      local sum = product[i + j - 1] + a[i] * b[j] + carry
      product[i + j - 1], carry = sum % 65536, math.floor(sum / 65536)
    end
    product[i + #b] = product[i + #b] + carry
  end
  return product
end

local function is_at_most(product, n, digits)
  -- `digits` digits of the product are behind the point.
  local whole, fraction = 0, false
  for i = #product, 1, -1 do
    if i > digits then
      whole = whole * 65536 + product[i]
    else
      fraction = fraction or product[i] > 0
    end
  end
  return whole < n or (whole == n and not fraction)
end

local function root(n, power)
  -- Five digits, the least significant first: four behind the point and one before it.
  local value = { 0, 0, 0, 0, 0 }
  for digit = 5, 1, -1 do
    for position = 15, 0, -1 do
      value[digit] = value[digit] + 2 ^ position
      local product = multiply(value, value)
      if power == 3 then
        product = multiply(product, value)
      end
      if not is_at_most(product, n, 4 * power) then
        value[digit] = value[digit] - 2 ^ position
      end
    end
  end
  return value[4] * 65536 + value[3], value[2] * 65536 + value[1]
end

local K = {}
local function constants()
  if #K == 0 then
    for i, prime in ipairs(primes(80)) do
      local high, low = root(prime, 3)
      K[i] = { math.floor(high), math.floor(low) }
    end
  end
  return K
end

local STARTS = {}
local function start(from)
  if not STARTS[from] then
    local words, all = {}, primes(16)
    for i = 1, 8 do
      local high, low = root(all[from + i - 1], 2)
      words[i] = { math.floor(high), math.floor(low) }
    end
    STARTS[from] = words
  end
  return STARTS[from]
end

-- The message with its padding, for blocks of so many bytes.
local function padded(message, block)
  local zeros = -(#message + 1 + block / 8) % block
  local size = {}
  local bits = #message * 8
  for i = block / 8, 1, -1 do
    size[i] = string.char(bits % 256)
    bits = math.floor(bits / 256)
  end
  return message .. "\128" .. ("\0"):rep(zeros) .. table.concat(size)
end

local function words_of(s, at, count)
  local words = {}
  for i = 1, count do
    local a, b, c, d = s:byte(at + 4 * i - 3, at + 4 * i)
    words[i] = ((a * 256 + b) * 256 + c) * 256 + d
  end
  return words
end

local function to_bytes(words)
  local out = {}
  for i, word in ipairs(words) do
    out[i] = string.char(math.floor(word / 16777216) % 256, math.floor(word / 65536) % 256,
      math.floor(word / 256) % 256, word % 256)
  end
  return table.concat(out)
end

local function turn(x, n)
  return bxor(rshift(x, n), lshift(x, 32 - n))
end

function sha2.sha256(message)
  local k, state = constants(), {}
  for i, word in ipairs(start(1)) do
    state[i] = word[1]
  end
  local s = padded(message, 64)
  for at = 0, #s - 1, 64 do
    local w = words_of(s, at, 16)
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(turn(x, 7), turn(x, 18), rshift(x, 3))
      local s1 = bxor(turn(y, 17), turn(y, 19), rshift(y, 10))
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) % WORD
    end
    local a, b, c, d, e, f, g, h = state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
    for i = 1, 64 do
      local s1 = bxor(turn(e, 6), turn(e, 11), turn(e, 25))
      local one = h + s1 + bxor(g, band(e, bxor(f, g))) + k[i][1] + w[i]
      local s0 = bxor(turn(a, 2), turn(a, 13), turn(a, 22))
      local two = s0 + bxor(band(a, bxor(b, c)), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, (d + one) % WORD, c, b, a, (one + two) % WORD
    end
    for i, value in ipairs({ a, b, c, d, e, f, g, h }) do
      state[i] = (state[i] + value) % WORD
    end
  end
  return to_bytes(state)
end

-- Words of 64 bits are two numbers, the upper half first.
local function turn64(high, low, n)
  if n > 32 then
    high, low, n = low, high, n - 32
  end
  return bxor(rshift(high, n), lshift(low, 32 - n)), bxor(rshift(low, n), lshift(high, 32 - n))
end

local function sigma(high, low, first, second, third, is_shift)
  local ah, al = turn64(high, low, first)
  local bh, bl = turn64(high, low, second)
  local ch, cl
  if is_shift then
    ch, cl = rshift(high, third), bxor(rshift(low, third), lshift(high, 32 - third))
  else
    ch, cl = turn64(high, low, third)
  end
  return bxor(ah, bh, ch), bxor(al, bl, cl)
end

-- The sum of pairs; the halves may be negative, as BitOp has them.
local function sum(high, low)
  low = low % (WORD * WORD)
  return (high + math.floor(low / WORD)) % WORD, low % WORD
end

local function sha512_from(from, message)
  local k, state = constants(), {}
  for i, word in ipairs(start(from)) do
    state[i] = { word[1], word[2] }
  end
  local s = padded(message, 128)
  for at = 0, #s - 1, 128 do
    local halves, wh, wl = words_of(s, at, 32), {}, {}
    for i = 1, 16 do
      wh[i], wl[i] = halves[2 * i - 1], halves[2 * i]
    end
    for i = 17, 80 do
      local ah, al = sigma(wh[i - 15], wl[i - 15], 1, 8, 7, true)
      local bh, bl = sigma(wh[i - 2], wl[i - 2], 19, 61, 6, true)
      wh[i], wl[i] = sum(wh[i - 16] + ah + wh[i - 7] + bh, wl[i - 16] + al % WORD + wl[i - 7] + bl % WORD)
    end
    local v = {}
    for i = 1, 8 do
      v[i] = { state[i][1], state[i][2] }
    end
    for i = 1, 80 do
      local a, b, c, d, e, f, g, h = v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]
      local s1h, s1l = sigma(e[1], e[2], 14, 18, 41)
      local chh, chl = bxor(g[1], band(e[1], bxor(f[1], g[1]))), bxor(g[2], band(e[2], bxor(f[2], g[2])))
      local oneh = h[1] + s1h + chh + k[i][1] + wh[i]
      local onel = h[2] + s1l % WORD + chl % WORD + k[i][2] + wl[i]
      local s0h, s0l = sigma(a[1], a[2], 28, 34, 39)
      local majh = bxor(band(a[1], bxor(b[1], c[1])), band(b[1], c[1]))
      local majl = bxor(band(a[2], bxor(b[2], c[2])), band(b[2], c[2]))
      local eh, el = sum(d[1] + oneh, d[2] + onel)
      local ah, al = sum(oneh + s0h + majh, onel + s0l % WORD + majl % WORD)
      v = { { ah, al }, a, b, c, { eh, el }, e, f, g }
    end
    for i = 1, 8 do
      state[i][1], state[i][2] = sum(state[i][1] + v[i][1], state[i][2] + v[i][2])
    end
  end
  local words = {}
  for _, pair in ipairs(state) do
    words[#words + 1], words[#words + 2] = pair[1], pair[2]
  end
  return to_bytes(words)
end

function sha2.sha512(message)
  return sha512_from(1, message)
end

function sha2.sha384(message)
  return sha512_from(9, message):sub(1, 48)
end

function sha2.truncated_sha512(message)
  return sha2.sha512(message):sub(1, 32)
end

local function hmac(hash, block, key, message)
  key = #key > block and hash(key) or key
  local inner, outer = {}, {}
  for i = 1, block do
    local byte = key:byte(i) or 0
    inner[i], outer[i] = string.char(bxor(byte, 0x36)), string.char(bxor(byte, 0x5c))
  end
  return hash(table.concat(outer) .. hash(table.concat(inner) .. message))
end

function sha2.of_version_1(algorithm)
  local names = { [0x800C] = "sha256", [0x800D] = "sha384", [0x800E] = "sha512" }
  return sha2[names[algorithm]]
end

-- HoHoDk (MS-PCCRC 2.2); `algorithm` is dwHashAlgo, nil for version 2.
function sha2.segment_id(algorithm, secret, hash_of_data)
  local constant = "M\0S\0_\0P\0002\0P\0_\0C\0A\0C\0H\0I\0N\0G\0\0\0"
  if not algorithm then
    return hmac(sha2.sha512, 128, secret, hash_of_data .. constant):sub(1, 32)
  end
  local hash = sha2.of_version_1(algorithm) or sha2.sha256
  return hmac(hash, hash == sha2.sha256 and 64 or 128, secret, hash_of_data .. constant)
end
