# Three nodes on this machine, each with its whole stack, through nginx and alone; sourced by run.
# shellcheck shell=bash disable=SC2154,SC2034

# --- the cluster ----------------------------------------------------------------------------------

declare -A three_url three_status

# three_up: three stacks that know of one another, node I in $three/I; then as leader_found leaves it
three_up() {
    local i members='' raft=()
    three=$TMP/three
    for i in 1 2 3; do
        free_port
        three_url[$i]=http://127.0.0.1:$port
        free_port
        raft[i]=127.0.0.1:$port
        members=$members${members:+,}$i=${raft[i]}
    done
    for i in 1 2 3; do
        stacks="$stacks $three/$i"
        if ! deploy/node up --id $i --dir "$three/$i" --http "${three_url[$i]#http://}" \
            --raft "${raft[i]}" --cluster "$members" > "$TMP/up.out" 2>&1; then
            fail "node $i: deploy/node up failed: $(tail -n 3 "$TMP/up.out" | tr '\n' ' ')"
            return 1
        fi
    done
    leader_found
}

three_down() {
    local i
    for i in 1 2 3; do
        dir=$three/$i
        stack_down
    done
}

three_ask() {
    local i
    for i in 1 2 3; do
        three_status[$i]=$("$RELEASE/rollcallctl" status --socket "$three/$i/raft.sock" 2> /dev/null)
    done
}

# All three are ready and name one leader in one term.
three_agree() {
    local i
    three_ask
    leader=$(field leader "${three_status[1]}") term=$(field term "${three_status[1]}")
    [ "$leader" -gt 0 ] || return 1
    for i in 1 2 3; do
        [ "$(field leader "${three_status[$i]}")" = "$leader" ] &&
            [ "$(field term "${three_status[$i]}")" = "$term" ] &&
            [ "$(field ready "${three_status[$i]}")" = 1 ] || return 1
    done
}

# leader_found: in $leader, $follower, $followers the ids, in $term the term, in $dir and $url the leader's
leader_found() {
    wait_until 30 three_agree || { fail 'three nodes do not agree on a leader'; return 1; }
    case $leader in 1) followers='2 3' ;; 2) followers='3 1' ;; *) followers='1 2' ;; esac
    follower=${followers% *}
    dir=$three/$leader url=${three_url[$leader]}
}

# with_leader KEY COMMAND…: the command, and whether the leader it began with led to its end
with_leader() {
    local key=$1 began
    shift
    leader_found || return
    began=$term
    "$@"
    three_ask
    [ "$(field term "${three_status[$leader]}")" = "$began" ] ||
        { result "$key.elections" 1; elections=$((elections + 1)); }
}

# --- through nginx --------------------------------------------------------------------------------

raft_pids() {
    local i
    for i; do cat "$three/$i/raft.pid"; done
}

last_index() { field commit "$("$RELEASE/rollcallctl" status --socket "$three/$1/raft.sock")"; }

# three_measure PREFIX get|post CONNECTIONS NODE: the cluster through this node's nginx, with CPU and
# how many entries each flush of the leader and of a follower held
three_measure() {
    local prefix=$1 before after who id counted
    cpu_mark nginx "$(children "$(cat "$three/$4/nginx.pid")")"
    cpu_mark workers "$(cat "$three/$4/app.pid")"
    cpu_mark leader "$(raft_pids "$leader")"
    # shellcheck disable=SC2086
    cpu_mark followers "$(raft_pids $followers)"
    before=$(last_index "$leader")
    measure_service "$prefix" "$2" "$3" "${three_url[$4]}"
    cpu_a_request "$prefix" nginx workers leader followers "$line"
    [ "$2" = post ] || return 0
    after=$(last_index "$leader")
    for who in leader follower; do
        id=${!who}
        counted=$("$BIN/wal_flushes" --dir "$three/$id/wal" --after "$before" --upto "$after")
        [ "$(field flushes "$counted")" -eq 0 ] || result "$prefix.batch.$who" \
            "$(awk -v e="$(field entries "$counted")" -v f="$(field flushes "$counted")" \
                'BEGIN { printf "%.2f", e / f }')"
    done
}

# What three disks and two connections ask for a lone write, in the faster of two ways.
quorum_line() {
    mkdir -p "$TMP/quorum"
    "$BIN/quorum_floor" --dir "$TMP/quorum" --bytes "$write_bytes" --own "$1" --ms "$2"
}

quorum_choose() {
    quorum_own=thread
    quorum_line thread 100 > /dev/null # fills the files
    [ "$(awk -v a="$(field p50_us "$(quorum_line thread 500)")" \
        -v b="$(field p50_us "$(quorum_line inline 500)")" 'BEGIN { print (b < a) }')" = 0 ] ||
        quorum_own=inline
}

# three_http_round get|post CONNECTIONS
three_http_round() {
    local key=three.$1.$2
    three_measure "$key.leader" "$1" "$2" "$leader"
    noop_round "$key" "$1" "$2"
    three_measure "$key.follower" "$1" "$2" "$follower"
    [ "$1.$2" != post.1 ] || record three.quorum "$(quorum_line "$quorum_own" 1000)"
}

three_http() {
    noop_choose "$1" "$2"
    in_rounds "three.$1.$2" with_leader "three.$1.$2" three_http_round "$1" "$2"
}

# three_rows get|post CONNECTIONS
three_rows() {
    local key=three.$1.$2 unit
    for unit in rate p50_us p99_us; do
        row row "c=$2 $unit" $key.leader.$unit $key.follower.$unit $key.noop.$unit
    done
    row row '  p99/p50' $key.leader.tail $key.follower.tail
    row row '  CPU us/request: nginx' $key.leader.nginx.cpu_us $key.follower.nginx.cpu_us \
        $key.noop.nginx.cpu_us
    row row '    workers' $key.leader.workers.cpu_us $key.follower.workers.cpu_us \
        $key.noop.workers.cpu_us
    row row "    leader's node" $key.leader.leader.cpu_us $key.follower.leader.cpu_us
    row row "    followers (both)" $key.leader.followers.cpu_us $key.follower.followers.cpu_us
    if [ "$1" = post ]; then
        row row '  entries a flush: leader' $key.leader.batch.leader $key.follower.batch.leader
        row row '    a follower' $key.leader.batch.follower $key.follower.batch.follower
    fi
    row row '  CPU that others used, %' $key.others
}

three_targets() {
    row row 'quorum write p50_us' three.quorum.p50_us
    row text "  (the faster way for its leader to flush: $quorum_own); fastest no-op, processes:$noop_chosen."
    row ratio 'lone POST p50 / (no-op + quorum write)' three.post.1.leader.p50_us \
        three.post.1.noop.p50_us+three.quorum.p50_us '<=' 1.3
    row ratio 'POST rate, c=64 / no-op' three.post.64.leader.rate three.post.64.noop.rate '>=' 0.5
    row ratio 'POST rate, c=256 / no-op' three.post.256.leader.rate three.post.256.noop.rate '>=' 0.45
    row limit 'POST p99 / p50, c=64' three.post.64.leader.tail '' '' ''
    row limit 'POST p99 / p50, c=256' three.post.256.leader.tail '' '' ''
    row ratio 'GET rate, c=64, by the leader / no-op' three.get.64.leader.rate \
        three.get.64.noop.rate '>=' 0.6
    row ratio 'GET rate, c=64, by a follower / no-op' three.get.64.follower.rate \
        three.get.64.noop.rate '>=' 0.55
}

# --- the nodes alone ------------------------------------------------------------------------------

# three_node_load KEY NODE IN-FLIGHT
three_node_load() {
    local line
    line=$("$BIN/node_load" write --socket "$three/$2/raft.sock" --in-flight "$3" --ms "$node_ms")
    record "$1" "$line"
    acknowledged=$((acknowledged + $(field count "$line")))
}

three_node_round() {
    local n
    for n in 1 64 256; do
        three_node_load "three.node.$n.leader" "$leader" $n
        rm -rf "$TMP/libraft" && mkdir "$TMP/libraft"
        record "three.libraft.$n" "$("$BIN/libraft_load" --dir "$TMP/libraft" --servers 3 \
            --port "$libraft_port" --in-flight $n --ms "$node_ms")"
        three_node_load "three.node.$n.follower" "$follower" $n
        [ $n != 1 ] || record three.alone.quorum "$(quorum_line "$quorum_own" "$node_ms")"
    done
}

three_node_rows() {
    local n
    row text ''
    row text "Three nodes alone, over the workers' socket of the leader and of a follower; libraft with"
    row text 'three servers, driven in its leader; writes of 20-byte names, entries of 64 bytes:'
    row head '' leader follower 'libraft 0.15'
    for n in 1 64 256; do
        row row "$n in flight, rate" three.node.$n.leader.rate three.node.$n.follower.rate \
            three.libraft.$n.rate
        row row '   p50_us' three.node.$n.leader.p50_us three.node.$n.follower.p50_us \
            three.libraft.$n.p50_us
        row row '   p99_us' three.node.$n.leader.p99_us three.node.$n.follower.p99_us \
            three.libraft.$n.p99_us
    done
    row row 'quorum write p50_us' three.alone.quorum.p50_us
    row row 'CPU that others used, %' three.node.others
    row ratio 'nodes, lone write p50 / quorum write' three.node.1.leader.p50_us \
        three.alone.quorum.p50_us '<=' 1.15
    row ratio '  (libraft, the same)' three.libraft.1.p50_us three.alone.quorum.p50_us
    for n in 64 256; do
        row ratio "nodes' rate, $n in flight / libraft" three.node.$n.leader.rate \
            three.libraft.$n.rate '>=' 1.0
        row ratio "  (by a follower)" three.node.$n.follower.rate three.libraft.$n.rate
    done
}

# Every acknowledged user is on every node; of those open when wrk stopped, any or none.
check_three_users() {
    local i users
    leader_found || return
    wait_until 10 three_level || fail 'followers do not catch up with their leader'
    for i in 1 2 3; do
        users=$(field users "${three_status[$i]}")
        ((users >= acknowledged && users <= acknowledged + unknown)) ||
            fail "$acknowledged users acknowledged (and at most $unknown more tried), $users on node $i"
    done
    row text "  $acknowledged users acknowledged, $users on each node; the leader changed during $elections rounds."
}

three_level() {
    three_ask
    [ "$(field applied "${three_status[1]}")" = "$(field applied "${three_status[2]}")" ] &&
        [ "$(field applied "${three_status[2]}")" = "$(field applied "${three_status[3]}")" ]
}

part_three() {
    local c
    row text ''
    row text 'Three nodes on this machine, through nginx of the leader and of a follower:'
    three_up && http_beside || return
    acknowledged=10 unknown=0 elections=0
    quorum_choose
    three_http get 64 # while there are ten users
    for c in 1 64 256; do three_http post $c; done
    row head 'GET /users, 10 users' leader follower no-op
    three_rows get 64
    row head 'POST /users, 20 bytes' leader follower no-op
    for c in 1 64 256; do three_rows post $c; done
    three_targets
    noop_chosen=''
    show
    free_port
    libraft_port=$port next_port=$((port + 3))
    in_rounds three.node with_leader three.node three_node_round
    three_node_rows
    check_three_users
    stop_own
    three_down
}
