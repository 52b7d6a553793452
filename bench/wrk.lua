-- Sends the requests of a file in turn; counts and percentiles come back as one line of JSON.
-- The file: for each request its length in bytes, a line end, and the request itself.

local requests, place, number = {}, 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local length = file:read("*l")
    if not length then break end
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
end

function request()
  place = place % #requests + 1
  local text = requests[place]
  if text:find("@@@@@@@@", 1, true) then
    number = number + 1
    text = text:gsub("@@@@@@@@", string.format("%08d", number))
  end
  return text
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
