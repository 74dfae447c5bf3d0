-- Writes what one router knows of a user. KEYS: the user's connection and online.
-- ARGV: how long a session counts, s; how long online counts, s; how many sessions there are; field and value of each;
-- field and value of each that ended. Values lack their time, which is put behind them.
local now = tonumber(redis.call('TIME')[1])
local ends = string.format('%d', now + ARGV[1])
local held, left = {}, 0
local found = redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local over = tonumber(string.match(found[at + 1], '(%d+)$') or '0') <= now
  if over then
    redis.call('HDEL', KEYS[1], found[at])
  else
    held[found[at]] = found[at + 1]
    left = left + 1
  end
end
local sessions, at = tonumber(ARGV[3]), 4
for _ = 1, sessions do
  local field, value = ARGV[at], ARGV[at + 1]
  local other = held[field]
  if not other or string.sub(other, 1, 16) <= string.sub(value, 1, 16) then
    redis.call('HSET', KEYS[1], field, value .. ends)
    if not other then left = left + 1 end
    held[field] = value
  end
  at = at + 2
end
while ARGV[at] do
  local field, value = ARGV[at], ARGV[at + 1]
  local other = held[field]
  if other and string.sub(other, 1, #value) == value then
    redis.call('HDEL', KEYS[1], field)
    held[field] = nil
    left = left - 1
  end
  at = at + 2
end
if left == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
if sessions > 0 then
  redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
end
return left
