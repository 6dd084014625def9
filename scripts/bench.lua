-- What wrk sends for scripts/bench.ts, and what it prints at the end.
--   wrk … -s scripts/bench.lua http://host:8500/path             GET of that path
--   wrk … -s scripts/bench.lua http://host:8500 -- PUT 1000 100  PUT of a new value of 100 bytes to each of 1,000 keys in turn
local keys, filling
local sent = 0

function init(args)
  if args[1] ~= "PUT" then return end
  keys = tonumber(args[2])
  -- The same value again would change nothing.
  filling = string.rep("x", tonumber(args[3]) - 10)
  request = function()
    sent = sent + 1
    return wrk.format("PUT", "/v1/kv/bench/" .. sent % keys, nil, string.format("%010d", sent) .. filling)
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("requests %d micros %d p99 %d failed %d\n",
    summary.requests, summary.duration, latency:percentile(99), failed))
end
