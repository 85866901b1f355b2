-- GET, or with `-- post` POST with a new 20-byte name each time; prints one line of key=value.
-- wrk counts a status above 399 as an error; nothing here answers 3xx.

local post = false
local chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
local stem, serial

function init(args)
    post = args[1] == "post"
    if not post then
        return
    end
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    math.randomseed(os.time() + (tonumber(args[2]) or 0))
    local letters = {}
    for i = 1, 12 do
        local at = math.random(#chars)
        letters[i] = chars:sub(at, at)
    end
    stem = table.concat(letters)
    serial = 0
    -- The request as wrk would write it, cut before the eight digits: the body's length is fixed.
    local whole = wrk.format(nil, nil, nil, '{"name":"' .. stem .. '00000000"}')
    local at = whole:find("00000000", 1, true)
    head, tail = whole:sub(1, at - 1), whole:sub(at + 8)
    request = function()
        serial = serial + 1
        return head .. string.format("%08d", serial) .. tail
    end
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        "requests=%d ms=%.0f rate=%.0f errors=%d p50_us=%d p99_us=%d max_us=%d\n",
        summary.requests, summary.duration / 1e3, summary.requests / (summary.duration / 1e6),
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), latency.max))
end
