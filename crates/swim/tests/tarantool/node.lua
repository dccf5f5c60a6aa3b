-- One real SWIM member, driven over a console on a Unix socket.
--   SWIM_CONTROL   path of the socket
--   SWIM_UUID      its id
--   SWIM_HEARTBEAT seconds; ack_timeout is half of it: at its default of 30 s the detector of a group of three never fires
--   SWIM_ALGO, SWIM_MODE, SWIM_KEY   encryption, the key in hexadecimal digits
local swim = require('swim')
local heartbeat = tonumber(os.getenv('SWIM_HEARTBEAT'))
s = swim.new()
history = {}
s:on_member_event(function(m, e)
    if e:is_new_status() or e:is_new() then
        table.insert(history, tostring(m:uuid()) .. ' ' .. m:status())
    end
end)
if os.getenv('SWIM_ALGO') then
    local key = os.getenv('SWIM_KEY'):gsub('%x%x', function(h) return string.char(tonumber(h, 16)) end)
    assert(s:set_codec({algo = os.getenv('SWIM_ALGO'), mode = os.getenv('SWIM_MODE'), key = key, key_size = #key}))
end
assert(s:cfg({uri = '127.0.0.1:0', uuid = os.getenv('SWIM_UUID'), heartbeat_rate = heartbeat,
              ack_timeout = heartbeat / 2}))
function status(id)
    local m = s:member_by_uuid(id)
    return m and m:status() or 'unknown'
end
function payload(id)
    local m = s:member_by_uuid(id)
    return m and m:payload_str() or ''
end
function uri(id)
    local m = s:member_by_uuid(id)
    return m and m:uri() or ''
end
function happened(id, status)
    for _, line in ipairs(history) do
        if line == id .. ' ' .. status then return true end
    end
    return false
end
require('console').listen('unix/:' .. os.getenv('SWIM_CONTROL'))
require('fiber').sleep(1e9)
