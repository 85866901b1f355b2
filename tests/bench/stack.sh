# Starting and stopping what the bench measures; sourced by run. Every process is known by its id.
# shellcheck shell=bash disable=SC2154,SC2034

stacks='' # folders that deploy/node brought up
export ROLLCALL_ALLOW_ROOT=yes
pids=''   # processes that the bench started itself

fail() {
    echo "$*" >> "$failures"
    echo "  ERROR: $*" >&2
}

# wait_until SECONDS COMMAND…: the command succeeds in time
wait_until() {
    local end=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$(date +%s%N)" -lt "$end" ] || return 1
        sleep 0.005
    done
}

port_is_free() { ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# free_port: in $port
next_port=${BENCH_PORT:-$((18000 + RANDOM % 8000))}
free_port() {
    until port_is_free $next_port; do next_port=$((next_port + 1)); done
    port=$next_port
    next_port=$((next_port + 1))
}

# own PID: ours to stop at the end; no job of the shell's, which would speak of its end
own() {
    disown "$1"
    pids="$pids $1"
}

# stop PID [SIGNAL]: and wait until it is gone
gone() { ! kill -0 "$1" 2> /dev/null; }
stop() {
    kill -"${2:-TERM}" "$1" 2> /dev/null || return 0
    wait_until 15 gone "$1" || kill -KILL "$1" 2> /dev/null
}

stop_own() {
    local pid
    for pid in $pids; do stop "$pid"; done
    pids=''
}

stop_all() {
    local dir
    stop_own
    for dir in $stacks; do deploy/node down --dir "$dir" > /dev/null 2>&1; done
    stacks=''
}

# --- the whole stack, by deploy/node; sets $dir and $url ------------------------------------------

stack_up() {
    dir=$TMP/$1
    free_port
    url=http://127.0.0.1:$port
    stacks="$stacks $dir"
    if ! deploy/node up --id 1 --dir "$dir" --http "127.0.0.1:$port" > "$TMP/up.out" 2>&1; then
        fail "$1: deploy/node up failed: $(tail -n 3 "$TMP/up.out" | tr '\n' ' ')"
        return 1
    fi
    wait_until 10 curl -sf "$url/users" || { fail "$1: no answer on $url/users"; return 1; }
}

stack_down() {
    deploy/node down --dir "$dir" > "$TMP/down.out" 2>&1 ||
        fail "deploy/node down failed: $(tail -n 3 "$TMP/down.out" | tr '\n' ' ')"
    stacks=${stacks/ $dir/}
    [ -n "$keep" ] || rm -rf "$dir"
}

# --- the same nginx, with something else behind it ------------------------------------------------

# As whoever this is, like deploy/node: its workers must reach the sockets of the folder.
nginx_at() {
    local user=''
    [ "$(id -u)" -ne 0 ] || user="user $(id -un) $(id -gn);"
    nginx -p "$1" -c "$1/nginx.conf" -e "$1/log/nginx.log" -g "daemon off; $user" \
        2> "$1/log/nginx.err" &
    own $!
}

# nginx_beside NAME [SED-SCRIPT]: the stack's nginx.conf in a folder and on a port of its own
nginx_beside() {
    local other=$TMP/$1 file
    mkdir -p "$other/log" "$other/tmp"
    chmod -R 777 "$other"
    free_port
    for file in "$dir"/*.conf; do
        sed -e "s|$dir|$other|g; s|127.0.0.1:${url##*:}|127.0.0.1:$port|g" -e "${2:-}" \
            "$file" > "$other/${file##*/}"
    done
    nginx_at "$other"
    eval "url_$1=http://127.0.0.1:$port"
    wait_until 5 eval "! port_is_free $port" ||
        { fail "nginx for $1: $(tail -n 2 "$other/log/nginx.err")"; return 1; }
}

# as_fastcgi: an answer from curl -i, as a FastCGI program would have written it. nginx's own headers
# go; a no-op knows its length and says it.
as_fastcgi() {
    tr -d '\r' < "$1" | awk '
        body { text = text $0 "\n"; next }
        NR == 1 { sub(/^HTTP\/[0-9.]+ /, "Status: "); head = $0 "\r\n"; next }
        $0 == "" { body = 1; next }
        tolower($0) ~ /^(server|date|connection|transfer-encoding|content-length|keep-alive|x-content-type-options|content-security-policy|referrer-policy):/ { next }
        { head = head $0 "\r\n" }
        END {
            sub(/\n$/, "", text)
            printf "%sContent-Length: %d\r\n\r\n%s", head, length(text), text
        }'
}

# noop_up NAME PROCESSES: url_NAME answers with the bytes of get.answer and post.answer
noop_up() {
    mkdir -p "$TMP/$1"
    "$BIN/noop_fastcgi" --socket "$TMP/$1/app.sock" --post "$TMP/post.answer" \
        --get "$TMP/get.answer" --processes "$2" &
    eval "$1_pid=$!"
    own $!
    nginx_beside "$1" || return 1
    eval "wait_until 5 curl -sf \$url_$1/users" || fail "$1 does not answer"
}

# constant_up: url_constant answers the body of GET /users from nginx itself
constant_up() {
    local body
    body=$(tr -d '\r' < "$TMP/get.http" | sed '1,/^$/d')
    nginx_beside constant \
        "s|fastcgi_pass workers;|default_type application/json; return 200 '$body';|"
}

# --- a node alone, with a Redis of its own; sets $dir, $redis_pid, $node_pid, $ready_ms -----------

redis_answers() { [ "$(redis-cli -s "$dir/redis.sock" ping 2> /dev/null)" = PONG ]; }

redis_up() {
    mkdir -p "$dir/redis" "$dir/wal" "$dir/log" "$dir/tmp"
    redis-server deploy/redis.conf --dir "$dir/redis" --unixsocket "$dir/redis.sock" \
        --daemonize no > "$dir/log/redis.log" 2>&1 &
    redis_pid=$!
    own $redis_pid
    wait_until 60 redis_answers || { fail 'redis does not answer'; return 1; }
}

# node_up [VARIABLE=VALUE…]: waits for event=ready
node_up() {
    local begin
    : > "$dir/log/node.err"
    begin=$(date +%s%N)
    env "$@" "$RELEASE/rollcall-node" --id 1 --dir "$dir/wal" --socket "$dir/raft.sock" \
        --redis "$dir/redis.sock" --cluster bench --pid-file "$dir/raft.pid" 2>> "$dir/log/node.err" &
    node_pid=$!
    own $node_pid
    if ! wait_until 60 grep -q event=ready "$dir/log/node.err"; then
        fail "the node does not become ready: $(tail -n 2 "$dir/log/node.err" | tr '\n' ' ')"
        return 1
    fi
    ready_ms=$((($(date +%s%N) - begin) / 1000000))
}

node_down() {
    stop "$node_pid" "${1:-TERM}"
    pids=${pids/ $node_pid/}
}

# edge_up: nginx over the folder, at $url; workers_up: workers behind it, until they answer
edge_up() {
    free_port
    url=http://127.0.0.1:$port
    cp deploy/{guard,headers,problems}.conf "$dir"
    sed "s|/var/lib/rollcall|$dir|g; s|127\.0\.0\.1:8080|127.0.0.1:$port|g" nginx.conf \
        > "$dir/nginx.conf"
    nginx_at "$dir"
    edge_pid=$!
    wait_until 10 eval "! port_is_free $port" ||
        { fail "nginx: $(tail -n 2 "$dir/log/nginx.err")"; return 1; }
}

workers_up() {
    GLIBC_TUNABLES=glibc.malloc.tcache_count=256 \
        spawn-fcgi -n -s "$dir/app.sock" -M 0600 -b 4096 -- "$RELEASE/rollcall-app" --workers 2 \
        --pid-file "$dir/app.pid" --node "$dir/raft.sock" 2> "$dir/log/app.log" &
    workers_pid=$!
    own $workers_pid
    wait_until 10 curl -sf "$url/livez" ||
        { fail "the workers do not answer: $(tail -n 2 "$dir/log/app.log")"; return 1; }
}

redis_down() {
    stop "$redis_pid"
    pids=${pids/ $redis_pid/}
}

# --- looking at processes -------------------------------------------------------------------------

memory_kib() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/status" 2> /dev/null; }
rss_kib() { memory_kib "$1" VmRSS; }

# The most that a process has held since memory_mark (VmHWM starts again at what it holds now).
memory_mark() { echo 5 > "/proc/$1/clear_refs"; }
peak_kib() { memory_kib "$1" VmHWM; }

children() { cat "/proc/$1/task/$1/children" 2> /dev/null; }

# cpu_used_ms PIDS: by all threads of the processes, so far
ticks_a_second=$(getconf CLK_TCK)
cpu_used_ms() {
    local pid
    for pid in $1; do cat "/proc/$pid/stat"; done 2> /dev/null |
        awk -v hz="$ticks_a_second" '{ sub(/.*\) /, ""); t += $12 + $13 } END { printf "%d\n", t * 1000 / hz }'
}

# busy: how much of all cores others use right now, in percent, while nothing of ours does anything
busy() {
    local before after
    before=$(head -n 1 /proc/stat)
    sleep 0.5
    after=$(head -n 1 /proc/stat)
    echo "$before $after" | awk '{
        for (i = 2; i <= 9; i++) { then += $i; now += $(i + 11) }
        idle = $16 + $17 - $5 - $6
        printf "%.0f\n", (now > then ? 100 * (1 - idle / (now - then)) : 0)
    }'
}

# others_mark, then others_share: in $share, the percent of all cores' time since that went to
# processes which are not ours: neither children of this shell (`times` knows of those that have
# finished; it must not run in a subshell) nor those in the pid files of $dir and of stacks.
ours_ms() {
    local pid folder all=$pids
    for folder in ${dir:-} $stacks; do all="$all $(cat "$folder"/*.pid 2> /dev/null)"; done
    for pid in $all; do all="$all $(children "$pid")"; done
    # shellcheck disable=SC2086
    cpu_used_ms "$(printf '%s\n' $all | sort -u)"
    times
}

all_ms() {
    awk -v hz="$ticks_a_second" 'NR == 1 { printf "%d\n", ($2 + $3 + $4 + $9) * 1000 / hz }' /proc/stat
}

others_mark() {
    marked_at=$(now_ms) marked_all=$(all_ms)
    ours_ms > "$TMP/ours.before"
}

others_share() {
    ours_ms > "$TMP/ours.after"
    share=$(awk -v wall=$((($(now_ms) - marked_at) * $(nproc))) -v all=$(($(all_ms) - marked_all)) '
        function ms(text,    t) { split(text, t, /[ms]/); return (t[1] * 60 + t[2]) * 1000 }
        { sign = FILENAME ~ /before$/ ? -1 : 1 }
        FNR == 1 { ours += sign * $1 }
        FNR > 1 { ours += sign * (ms($1) + ms($2)) }
        END { share = 100 * (all - ours) / wall; printf "%d\n", (share > 0 ? share : 0) }
    ' "$TMP/ours.before" "$TMP/ours.after")
}

# await_quiet: gives others up to 30 s to finish, and says so when they do not
await_quiet() {
    local share end=$((SECONDS + 30))
    while share=$(busy) && [ "$share" -gt 10 ]; do
        if [ $SECONDS -ge $end ]; then
            echo "  NOTE: others use $share % of the CPU as this begins: latencies here are theirs too."
            disturbed=1
            return
        fi
    done
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }
