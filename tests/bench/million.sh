# A directory of a million users, and processes at rest; sourced by run.
# shellcheck shell=bash disable=SC2154

snapshots_done() { grep -c 'event=snapshot_done' "$dir/log/node.err"; }

more_snapshots_than() { [ "$(snapshots_done)" -gt "$1" ]; }

# snapshot KEY: asks the node for a snapshot and waits for it, while a probe looks on for at least a
# second; its milliseconds under KEY, and what the probe felt under probe.KEY
snapshot() {
    local before probe line
    before=$(snapshots_done)
    "$BIN/node_load" probe --socket "$dir/raft.sock" --rate 500 --ms 60000 > "$TMP/probe" &
    probe=$!
    sleep 0.3
    kill -USR1 "$node_pid"
    wait_until 60 more_snapshots_than "$before" || fail "$1: no snapshot within 60 s of SIGUSR1"
    sleep 0.7
    kill "$probe"
    wait "$probe"
    record "probe.$1" "$(cat "$TMP/probe")"
    line=$(grep 'event=snapshot_done' "$dir/log/node.err" | tail -n 1)
    result "$1.ms" "$(field ms "$line")"
    result "$1.kind.$(field kind "$line")" 1
    worst_of_probe "probe.$1"
}

# The slower of the slowest write and the slowest read, in milliseconds.
worst_of_probe() {
    awk -v prefix="$1" '
        $1 == prefix ".write_max_us" || $1 == prefix ".read_max_us" { last[$1] = $2 }
        END { for (key in last) if (last[key] > worst) worst = last[key]; printf "%s.worst_ms %.1f\n", prefix, worst / 1000 }
    ' "$results" > "$TMP/worst"
    cat "$TMP/worst" >> "$results"
}

# probe_alone: the same without a snapshot: what the machine itself does to a request
probe_alone() {
    record probe.alone "$("$BIN/node_load" probe --socket "$dir/raft.sock" --rate 500 --ms 2000)"
    worst_of_probe probe.alone
}

users_stored() { field users "$("$RELEASE/rollcallctl" status --socket "$dir/raft.sock")"; }

# fill KEY: a million users, 256 writes in flight
fill() {
    record "$1" "$("$BIN/node_load" write --socket "$dir/raft.sock" --in-flight 256 \
        --count "$million" --name-bytes 20)"
}

# restart TERM|KILL: the node ends so and comes back with every user
restart() {
    local before after
    before=$(users_stored)
    node_down "$1"
    node_up "${node_environment[@]}" || return 1
    result "restart.$1.ms" "$ready_ms"
    after=$(field users "$("$BIN/node_load" list --socket "$dir/raft.sock")")
    [ "$after" = "$before" ] || fail "restart after SIG$1: $before users before, $after after"
}

part_million() {
    local empty_kib full_kib stored i
    row text ''
    row text "$million users of 20-byte names, the node alone, its snapshots as they come by default:"
    dir=$TMP/million
    node_environment=(ROLLCALL_BENCH=1)
    redis_up && node_up "${node_environment[@]}" || return
    empty_kib=$(rss_kib "$node_pid")
    fill million.fill
    full_kib=$(rss_kib "$node_pid")
    result million.bytes_a_user $(((full_kib - empty_kib) * 1024 / million))
    sleep 2 # a snapshot that runs
    result million.snapshots "$(snapshots_done)"
    result million.bytes_a_user_later $((($(rss_kib "$node_pid") - empty_kib) * 1024 / million))
    stored=$(users_stored)
    [ "$stored" = "$million" ] || fail "$million users acknowledged, $stored stored"
    for ((i = 0; i < rounds; i++)); do
        restart TERM && restart KILL || return
    done
    result million.bytes_a_user_restarted $((($(rss_kib "$node_pid") - empty_kib) * 1024 / million))
    row row 'users written a second' million.fill.rate
    row row '  p50_us, 256 in flight' million.fill.p50_us
    row row '  slowest, us' million.fill.max_us
    row row 'snapshots meanwhile' million.snapshots
    row limit 'node memory a user' million.bytes_a_user '<=' 200 ' bytes'
    row row '  2 s later' million.bytes_a_user_later
    row row '  after restarts' million.bytes_a_user_restarted
    row row 'restart after SIGTERM, ms' restart.TERM.ms
    row row 'restart after SIGKILL, ms' restart.KILL.ms
    row limit 'restart to readiness after SIGTERM' restart.TERM.ms '<=' 3000 ' ms'
    row limit 'restart to readiness after SIGKILL' restart.KILL.ms '<=' 3000 ' ms'
    million_list
    stop_all
    rm -rf "$dir"
    million_snapshots
    stop_all
    rm -rf "$dir"
}

# GET /users of all of them through nginx, over the node that has them.
million_list() {
    local i line workers
    edge_up && workers_up || return
    workers=$(tr '\n' ' ' < "$dir/app.pid")
    for ((i = 0; i < 3; i++)); do
        for line in $node_pid $workers; do memory_mark "$line"; done
        line=$(curl -s -o "$TMP/list" -w 'status=%{http_code} bytes=%{size_download} s=%{time_total}' \
            "$url/users")
        case $line in status=200*) ;; *) fail "GET /users of $million: $line" ;; esac
        result list.mb_s "$(awk -v b="$(field bytes "$line")" -v s="$(field s "$line")" \
            'BEGIN { print b / s / 1e6 }')"
        result list.mb "$(awk -v b="$(field bytes "$line")" 'BEGIN { print b / 1e6 }')"
        result list.node_mib "$(($(peak_kib "$node_pid") / 1024))"
        result list.worker_mib "$(for line in $workers; do peak_kib "$line"; done |
            sort -n | tail -n 1 | awk '{ print $1 / 1024 }')"
        [ "$(tr -cd '{' < "$TMP/list" | wc -c)" = "$million" ] ||
            fail "GET /users of $million: $(tr -cd '{' < "$TMP/list" | wc -c) users came"
    done
    row text "GET /users of all of them through nginx:"
    row row 'MB' list.mb
    row row 'MB/s' list.mb_s
    row row 'MiB of the node, peak' list.node_mib
    row row 'MiB of a worker, peak' list.worker_mib
}

million_snapshots() {
    local i full_ms
    row text "Snapshots asked for by SIGUSR1, none before; a client at 500 requests/s looks on:"
    dir=$TMP/snapshots
    node_environment=(ROLLCALL_SNAPSHOT_ENTRIES=1000000000)
    redis_up && node_up "${node_environment[@]}" || return
    fill snapshots.fill
    probe_alone
    snapshot full
    full_ms=$(awk '$1 == "full.ms" { print $2 }' "$results")
    result full.node_mib "$(($(rss_kib "$node_pid") / 1024))"
    for ((i = 0; i < rounds; i++)); do
        record changed "$("$BIN/node_load" write --socket "$dir/raft.sock" --in-flight 256 \
            --count $((million / 100)))"
        snapshot changed
        result full_again.ms "$full_ms"
    done
    probe_alone
    restart TERM
    row row 'full, ms' full.ms
    row row 'after 1 % more, ms' changed.ms
    row head 'slowest request, ms:' 'no snapshot' 'full snapshot' 'after 1 %'
    row row '' probe.alone.worst_ms probe.full.worst_ms probe.changed.worst_ms
    row row 'MiB of the node after' full.node_mib
    row ratio 'snapshot after 1 % / full' changed.ms full_again.ms '<=' 0.05
    row limit 'slowest request during a full snapshot' probe.full.worst_ms '<=' 50 ' ms'
    row limit 'slowest request during 1 % snapshots' probe.changed.worst_ms '<=' 50 ' ms'
}

# --- at rest --------------------------------------------------------------------------------------

# started NAME COMMAND…: runs it, its milliseconds under start.NAME
started() {
    local begin name=$1
    shift
    begin=$(now_ms)
    "$@" || return 1
    result "start.$name" $(($(now_ms) - begin))
}

# at_rest NAME PID…: the resident memory of each, in MiB, under rest.NAME
at_rest() {
    local name=$1 pid
    shift
    for pid; do
        result "rest.$name" "$(awk -v kib="$(rss_kib "$pid")" 'BEGIN { print kib / 1024 }')"
    done
}

part_rest() {
    local i name
    for ((i = 0; i < rounds; i++)); do
        dir=$TMP/rest$i
        started redis redis_up && started node node_up && started nginx edge_up &&
            started workers workers_up || return
        curl -sf -o /dev/null "$url/users" || fail "rest: GET /users"
        sleep 0.5
        at_rest redis "$redis_pid"
        at_rest node "$node_pid"
        # shellcheck disable=SC2046
        at_rest worker $(cat "$dir/app.pid")
        at_rest nginx "$edge_pid"
        # shellcheck disable=SC2046
        at_rest nginx-worker $(children "$edge_pid")
        at_rest workers-master "$workers_pid"
        stop_all
        rm -rf "$dir"
        dir=''
        started whole-stack stack_up "stack$i" && stack_down
    done
    row text ''
    row text "Start-up, from the command to the first sign of service (seen within 5–15 ms), and memory"
    row text "at rest, of an empty directory:"
    row head '' 'start, ms' 'resident, MiB'
    row row 'redis' start.redis rest.redis
    row row 'node' start.node rest.node
    row row 'workers: a worker' start.workers rest.worker
    row row 'workers: their master' start.none rest.workers-master
    row row 'nginx: master' start.nginx rest.nginx
    row row 'nginx: a worker' start.none rest.nginx-worker
    row row 'deploy/node up' start.whole-stack
}
