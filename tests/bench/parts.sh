# What is measured, part by part; sourced by run.
# shellcheck shell=bash disable=SC2154

# --- results and rows -----------------------------------------------------------------------------

result() { echo "$1 $2" >> "$results"; } # result KEY VALUE

# record PREFIX LINE: every key=value of the line; a line that tells of errors fails the run
record() {
    local pair
    [ -n "$2" ] || { fail "$1: no result"; return 1; }
    for pair in $2; do result "$1.${pair%%=*}" "${pair#*=}"; done
    case " $2 " in
    *' errors=0 '*) ;;
    *' errors='*) fail "$1: $2" ;;
    esac
}

# field KEY LINE: the value, 0 when there is none
field() {
    local pair
    for pair in $2; do [ "${pair%%=*}" = "$1" ] && { echo "${pair#*=}"; return; }; done
    echo 0
}

# row text|head|row|ratio|limit FIELD…: what report.awk prints
row() {
    local IFS='|'
    echo "$*" >> "$rows"
}

# show: prints the rows gathered so far; the targets among them come again at the end
show() {
    [ -s "$rows" ] || return 0
    awk -f "$BENCH/report.awk" "$results" "$rows"
    grep -E '^(ratio|limit)\|' "$rows" > "$rows.targets" &&
        awk -f "$BENCH/report.awk" "$results" "$rows.targets" >> "$summary"
    : > "$rows"
}

# in_rounds KEY COMMAND…: so many rounds of it. A round in which others used much of the CPU says
# little: up to as many rounds again are run for the disturbed ones, and the least disturbed count.
# What others used goes under KEY.others, in percent.
in_rounds() {
    local key=$1 all=$results tries=0 good=0
    shift
    rm -f "$TMP"/round.*
    while [ $good -lt "$rounds" ] && [ $tries -lt $((rounds * 2)) ]; do
        results=$TMP/round.$tries
        others_mark
        "$@"
        others_share
        echo "$key.others $share" >> "$results"
        mv "$results" "$(printf '%s/round.%03d.%d' "$TMP" "$share" $tries)"
        [ "$share" -gt 10 ] || good=$((good + 1))
        tries=$((tries + 1))
    done
    results=$all
    local files=("$TMP"/round.*)
    cat "${files[@]:0:rounds}" >> "$results"
}

# --- GET and POST through nginx -------------------------------------------------------------------

# wrk_line SECONDS CONNECTIONS get|post URL
wrk_line() {
    wrk -t1 -c"$2" -d"$1s" -s "$BENCH/wrk.lua" "$4/users" -- "$3" $RANDOM | grep '^requests='
}

# measure PREFIX get|post CONNECTIONS URL: one round, recorded under PREFIX and left in $line
measure() {
    line=$(wrk_line $((round_ms / 1000)) "$3" "$2" "$4")
    record "$1" "$line"
}

# measure_service PREFIX get|post CONNECTIONS URL: the same of what must not lose a user
measure_service() {
    measure "$@"
    result "$1.tail" "$(awk -v a="$(field p99_us "$line")" -v b="$(field p50_us "$line")" \
        'BEGIN { print (b > 0 ? a / b : 0) }')"
    [ "$2" = post ] || return 0
    acknowledged=$((acknowledged + $(field requests "$line")))
    unknown=$((unknown + $3)) # open when wrk stopped
}

# What a lone write makes durable: its request (49 bytes for a name of 20) in its record of the log.
write_bytes=96

flush_line() { "$BIN/flush" --file "$TMP/flush" --bytes "$write_bytes" --ms "$1"; }

# http_setup NAME: a stack with ten users at $url, and what is compared with it
http_setup() {
    stack_up "$1" && http_beside
}

# users_ten: ten users to $url; the last answer and the list in files
users_ten() {
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do
        curl -si -H 'Content-Type: application/json' -d "{\"name\":\"$((9999 + i)) one of ten users\"}" \
            "$url/users" > "$TMP/post.http"
        head -n 1 "$TMP/post.http" | grep -q ' 201 ' ||
            fail "POST /users: $(head -n 1 "$TMP/post.http")"
    done
    curl -si "$url/users" > "$TMP/get.http"
    head -n 1 "$TMP/get.http" | grep -q ' 200 ' || fail "GET /users: $(head -n 1 "$TMP/get.http")"
}

# http_beside: ten users to $url; url_noop1, url_noop2 and url_constant, answering the like of it
http_beside() {
    users_ten
    as_fastcgi "$TMP/get.http" > "$TMP/get.answer"
    as_fastcgi "$TMP/post.http" > "$TMP/post.answer"
    noop_up noop1 1
    noop_up noop2 2
    constant_up
}

http_teardown() {
    stop_own
    stack_down
}

# noop_choose get|post CONNECTIONS: url_noop is the faster of one process and two (see the head of
# tests/bench/noop_fastcgi.c: the ceiling is the fastest)
noop_choose() {
    local one two
    one=$(field rate "$(wrk_line 1 "$2" "$1" "$url_noop1")")
    two=$(field rate "$(wrk_line 1 "$2" "$1" "$url_noop2")")
    url_noop=$url_noop1 noop_processes=1 noop_pids=$noop1_pid
    if [ "$two" -gt "$one" ]; then
        url_noop=$url_noop2 noop_processes=2 noop_pids="$noop2_pid $(children "$noop2_pid")"
    fi
    noop_chosen="${noop_chosen:-} c=$2: $noop_processes"
}

# cpu_mark KEY PIDS, then cpu_a_request PREFIX KEY… LINE: the microseconds of CPU that the processes
# of each KEY have used since, for each request of the line. Unlike rates these hardly suffer from
# what others do on the machine.
declare -A cpu_pids cpu_ms
cpu_mark() {
    cpu_pids[$1]=$2
    cpu_ms[$1]=$(cpu_used_ms "$2")
}

cpu_a_request() {
    local prefix=$1 requests key
    requests=$(field requests "${*: -1}")
    for key in "${@:2:$#-2}"; do
        [ "$requests" -eq 0 ] || result "$prefix.$key.cpu_us" \
            "$(awk -v ms=$(($(cpu_used_ms "${cpu_pids[$key]}") - cpu_ms[$key])) -v n="$requests" \
                'BEGIN { printf "%.1f", ms * 1000 / n }')"
    done
}

# noop_round PREFIX get|post CONNECTIONS: the no-op, with its CPU
noop_round() {
    cpu_mark noop.nginx "$(children "$(cat "$TMP/noop$noop_processes/nginx.pid")")"
    cpu_mark noop.workers "$noop_pids"
    measure "$1.noop" "$2" "$3" "$url_noop"
    cpu_a_request "$1" noop.nginx noop.workers "$line"
}

# http_round get|post CONNECTIONS: the service, the no-op and the constant, once each
http_round() {
    cpu_mark service.nginx "$(children "$(cat "$dir/nginx.pid")")"
    cpu_mark service.workers "$(cat "$dir/app.pid")"
    cpu_mark service.node "$(cat "$dir/raft.pid")"
    measure_service "$1.$2.service" "$1" "$2" "$url"
    cpu_a_request "$1.$2" service.nginx service.workers service.node "$line"
    noop_round "$1.$2" "$1" "$2"
    measure "$1.$2.constant" "$1" "$2" "$url_constant"
    [ "$1.$2" != post.1 ] || record lone.flush "$(flush_line 500)"
}

# http_rounds get|post CONNECTIONS
http_rounds() {
    noop_choose "$1" "$2"
    in_rounds "$1.$2" http_round "$1" "$2"
}

# http_rows get|post CONNECTIONS…
http_rows() {
    local method=$1 c unit
    shift
    row head '' service no-op "nginx's constant"
    for c; do
        for unit in rate p50_us p99_us; do
            row row "c=$c $unit" "$method.$c.service.$unit" "$method.$c.noop.$unit" \
                "$method.$c.constant.$unit"
        done
        row row "  CPU us/request: nginx" "$method.$c.service.nginx.cpu_us" "$method.$c.noop.nginx.cpu_us"
        row row "    workers" "$method.$c.service.workers.cpu_us" "$method.$c.noop.workers.cpu_us"
        row row "    node" "$method.$c.service.node.cpu_us"
        row row "  CPU that others used, %" "$method.$c.others"
    done
    row text "  fastest no-op, processes:$noop_chosen. wrk runs the same Lua against all three;"
    row text "  what it costs shows where the constant is slower for POST than for GET."
    noop_chosen=''
}

lone_rows() {
    row row 'one fdatasync p50_us' lone.flush.p50_us
    row ratio 'lone POST p50 / (no-op + one fdatasync)' post.1.service.p50_us \
        post.1.noop.p50_us+lone.flush.p50_us '<=' 1.3
}

# Every acknowledged user must be there; of those open when wrk stopped, any or none.
check_users() {
    local users
    users=$(field users "$("$RELEASE/rollcallctl" status --socket "$dir/raft.sock")")
    ((users >= acknowledged && users <= acknowledged + unknown)) ||
        fail "$acknowledged users acknowledged (and at most $unknown more tried), $users stored"
    row text "  $acknowledged users acknowledged, $users stored."
}

part_get() {
    local c
    row text ''
    row text "GET /users, 10 users:"
    http_setup get || return
    acknowledged=0 unknown=0
    for c in 1 16 64 256; do http_rounds get $c; done
    http_rows get 1 16 64 256
    row ratio 'GET rate, c=64, service / no-op' get.64.service.rate get.64.noop.rate '>=' 0.65
    http_teardown
}

part_post() {
    local c
    row text ''
    row text "POST /users, names of 20 bytes:"
    http_setup post || return
    acknowledged=10 unknown=0
    for c in 1 16 64 256; do http_rounds post $c; done
    http_rows post 1 16 64 256
    lone_rows
    for c in 64 256; do
        row ratio "POST rate, c=$c, service / no-op" post.$c.service.rate post.$c.noop.rate '>=' 0.6
        row limit "POST p99 / p50, c=$c" post.$c.service.tail '<=' 4 ''
    done
    check_users
    http_teardown
}

part_lone() {
    case " $parts " in *' post '*) return ;; esac
    row text ''
    row text "A lone POST /users:"
    http_setup post || return
    acknowledged=10 unknown=0
    http_rounds post 1
    http_rows post 1
    lone_rows
    check_users
    http_teardown
}

# --- the node alone -------------------------------------------------------------------------------

node_round() {
    local n wait
    for n in 1 64 256; do
        for wait in block poll; do
            [[ $n != 1 && $wait = poll ]] && continue
            record "node.$n.$wait" "$("$BIN/node_load" write --socket "$dir/raft.sock" \
                --in-flight $n --ms "$node_ms" --wait $wait)"
        done
        record "floor.$n" "$("$BIN/node_load" write --socket "$TMP/floor/raft.sock" \
            --in-flight $n --ms "$node_ms")"
        rm -rf "$TMP/libraft" && mkdir "$TMP/libraft"
        record "libraft.$n" "$("$BIN/libraft_load" --dir "$TMP/libraft" --in-flight $n \
            --ms "$node_ms")"
        [ $n != 1 ] || record node.flush "$(flush_line "$node_ms")"
    done
}

part_node() {
    local n
    row text ''
    row text "The node alone, over its workers' socket (a client that sleeps until answers come,"
    row text "and for the lone write also one that polls); writes of 20-byte names:"
    dir=$TMP/node
    redis_up && node_up || return
    mkdir -p "$TMP/floor"
    "$BIN/floor_node" --socket "$TMP/floor/raft.sock" --file "$TMP/floor/file" 2> "$TMP/floor/err" &
    own $!
    wait_until 10 grep -q ready "$TMP/floor/err" || fail 'the floor does not start'
    in_rounds node node_round
    row head '' node floor 'libraft 0.15'
    for n in 1 64 256; do
        row row "$n in flight, rate" node.$n.block.rate floor.$n.rate libraft.$n.rate
        row row "   p50_us" node.$n.block.p50_us floor.$n.p50_us libraft.$n.p50_us
        row row "   p99_us" node.$n.block.p99_us floor.$n.p99_us libraft.$n.p99_us
    done
    row row 'lone, polling: p50_us' node.1.poll.p50_us
    row row 'one fdatasync: p50_us' node.flush.p50_us
    row row 'CPU that others used, %' node.others
    row ratio 'node, lone write p50 / one fdatasync' node.1.block.p50_us node.flush.p50_us '<=' 1.15
    row ratio '  (the same, with a client that polls)' node.1.poll.p50_us node.flush.p50_us
    row ratio 'node rate, 64 in flight / libraft' node.64.block.rate libraft.64.rate '>=' 0.8
    row ratio 'node rate, 256 in flight / libraft' node.256.block.rate libraft.256.rate '>=' 0.5
    stop_all
}
