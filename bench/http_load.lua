-- What wrk asks a served model: another id each time. With a pause each connection waits, after an answer, for a
-- time drawn from an exponential distribution, so that many connections together make a Poisson stream.
--
-- Arguments: the path; a file with an id on each line; mean pause in milliseconds, 0 for none.
-- PARLEY_KEY in the environment holds the API key.

local bodies, pause, headers, path, number, threads = {}, 0, {}, "/", 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("place", threads)
end

local function quoted(text)
  return '"' .. text:gsub('[%z\1-\31"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function init(args)
  path = args[1]
  for id in io.lines(args[2]) do
    bodies[#bodies + 1] = '{"id":' .. quoted(id) .. "}"
  end
  pause = tonumber(args[3])
  headers["X-API-Key"] = os.getenv("PARLEY_KEY")
  headers["Content-Type"] = "application/json"
  math.randomseed(place * 7919)
  number = math.random(#bodies)
  if pause > 0 then
    delay = function() return math.floor(-pause * math.log(1 - math.random()) + 0.5) end
  end
end

function request()
  number = number % #bodies + 1
  if path == "/healthz" then
    return wrk.format("GET", path, headers)
  end
  return wrk.format("POST", path, headers, bodies[number])
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_us": %.0f, "p90_us": %.0f, "p99_us": %.0f, "p999_us": %.0f, '
      .. '"max_us": %.0f, "not_ok": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9), latency.max, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
