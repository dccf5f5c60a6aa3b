-- One member of a gossip group, of Tarantool's SWIM module, that prints what it learns: for `cargo xtask bench swim`.
--   tarantool swim_member.lua URI UUID HEARTBEAT_SECONDS [ACK_TIMEOUT_SECONDS]
-- It prints `ready`, and then for every change of a member's status `MICROSECONDS UUID STATUS`. A line `join URI` on its standard input is
-- somebody to ping; where the input ends, so does the member. Without ACK_TIMEOUT_SECONDS the module has its default, 30 s.
local swim = require('swim')
local clock = require('clock')
local socket = require('socket')

io.stdout:setvbuf('line')
local s = swim.new()
s:on_member_event(function(m, e)
    if not (e:is_new() or e:is_new_status() or e:is_drop()) then return end
    local status = e:is_drop() and 'dropped' or m:status()
    io.stdout:write(('%d %s %s\n'):format(tonumber(clock.realtime64() / 1000), tostring(m:uuid()), status))
end)
assert(s:cfg({uri = arg[1], uuid = arg[2], heartbeat_rate = tonumber(arg[3]), ack_timeout = tonumber(arg[4])}))
print('ready')
while true do
    socket.iowait(0, 'R')
    local line = io.read('*l')
    if line == nil then os.exit(0) end
    local uri = line:match('^join (.+)$')
    if uri then assert(s:probe_member(uri)) end
end
