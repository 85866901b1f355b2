-- GET, or with `-- post` POST with a new 20-byte name each time; of one user with `-- item`,
-- `-- item-stale` and `-- item-304` GET, with `-- replace` and `-- patch` a new name each time.
-- Prints one line of key=value. wrk counts a status above 399 as an error.
--
-- For etcd's JSON gateway, where keys and values are base64: `-- put` puts a new key of 21 bytes with
-- a value as long, `-- range` reads the keys that begin with "ten/", whatever path the URL has.

local chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
local stem, serial
local threes = {} -- "000" … "999" in base64

-- The request as wrk would write it, cut at a mark of as many bytes as will stand in its place: the
-- body's length is fixed. The serial number, made text by `write`, stands there.
local function count_up(body, mark, write)
    local whole = wrk.format(nil, nil, nil, body)
    local at = whole:find(mark, 1, true)
    local head, tail = whole:sub(1, at - 1), whole:sub(at + #mark)
    request = function()
        serial = serial + 1
        return head .. write(serial) .. tail
    end
end

local function base64_of_three(text)
    local all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    local a, b, c = text:byte(1, 3)
    local bits, out = a * 65536 + b * 256 + c, ""
    for _ = 1, 4 do
        local at = bits % 64 + 1
        out, bits = all:sub(at, at) .. out, math.floor(bits / 64)
    end
    return out
end

local function etcd(mode)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.path = "/v3/kv/" .. mode
    if mode == "range" then
        wrk.body = '{"key":"dGVuLw==","range_end":"dGVuMA=="}'
        return
    end
    for i = 0, 999 do
        threes[i] = base64_of_three(string.format("%03d", i))
    end
    local half = "" -- 12 random bytes
    for i = 1, 4 do
        half = half .. threes[math.random(0, 999)]
    end
    serial = 0
    count_up('{"key":"' .. half .. '@@@@@@@@@@@@","value":"' .. half .. half:sub(1, 12) .. '"}',
        "@@@@@@@@@@@@", function(n)
            return threes[math.floor(n / 1000000)] .. threes[math.floor(n / 1000) % 1000] ..
                threes[n % 1000]
        end)
end

function init(args)
    math.randomseed(os.time() + (tonumber(args[2]) or 0))
    if args[1] == "put" or args[1] == "range" then
        etcd(args[1])
    end
    if args[1] == "item" or args[1] == "item-stale" or args[1] == "item-304" then
        wrk.path = args[1] == "item-stale" and "/users/7?consistency=stale" or "/users/7"
        wrk.headers["If-None-Match"] = args[1] == "item-304" and "*" or nil
        return
    end
    if args[1] ~= "post" and args[1] ~= "replace" and args[1] ~= "patch" then
        return
    end
    wrk.method = args[1] == "replace" and "PUT" or args[1] == "patch" and "PATCH" or "POST"
    wrk.path = args[1] == "post" and wrk.path or "/users/7"
    wrk.headers["Content-Type"] = args[1] == "patch" and "application/merge-patch+json" or
        "application/json"
    local letters = {}
    for i = 1, 12 do
        local at = math.random(#chars)
        letters[i] = chars:sub(at, at)
    end
    stem = table.concat(letters)
    serial = 0
    count_up('{"name":"' .. stem .. '@@@@@@@@"}', "@@@@@@@@", function(n)
        return string.format("%08d", n)
    end)
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        "requests=%d ms=%.0f rate=%.0f errors=%d p50_us=%d p99_us=%d max_us=%d\n",
        summary.requests, summary.duration / 1e3, summary.requests / (summary.duration / 1e6),
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), latency.max))
end
