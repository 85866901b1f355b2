# Three nodes beside a packaged store of the same promise: Debian's etcd 3.4, three servers, fsync on,
# through its JSON gateway; sourced by run.
# shellcheck shell=bash disable=SC2154,SC2034

declare -A etcd_url

# etcd_up: three servers with ten keys, and in $etcd the leader's URL
etcd_up() {
    local i members='' peer=()
    for i in 1 2 3; do
        free_port
        etcd_url[$i]=http://127.0.0.1:$port
        free_port
        peer[i]=http://127.0.0.1:$port
        members=$members${members:+,}e$i=${peer[i]}
    done
    etcd_pids=''
    for i in 1 2 3; do
        mkdir -p "$TMP/etcd/$i"
        etcd --name e$i --data-dir "$TMP/etcd/$i" --logger zap --log-level error \
            --listen-client-urls "${etcd_url[$i]}" --advertise-client-urls "${etcd_url[$i]}" \
            --listen-peer-urls "${peer[i]}" --initial-advertise-peer-urls "${peer[i]}" \
            --initial-cluster "$members" --initial-cluster-state new 2> "$TMP/etcd/$i.err" &
        etcd_pids="$etcd_pids $!"
        own $!
    done
    wait_until 30 etcd_found ||
        { fail "etcd has no leader: $(tail -qn 1 "$TMP"/etcd/*.err | tr '\n' ' ')"; return 1; }
    for i in 0 1 2 3 4 5 6 7 8 9; do
        curl -sf "$etcd/v3/kv/put" -o /dev/null -d "{\"key\":\"$(printf 'ten/%d' $i | base64)\",\"value\":\"$(
            printf '%s one of ten users' $i | base64)\"}" || fail 'etcd: put'
    done
    curl -sf "$etcd/v3/kv/range" -d '{"key":"dGVuLw==","range_end":"dGVuMA=="}' |
        grep -q '"count":"10"' || fail 'etcd: range does not give ten keys'
}

# Finds the server that says of itself that it leads.
etcd_found() {
    local i said id lead
    for i in 1 2 3; do
        said=$(curl -sf "${etcd_url[$i]}/v3/maintenance/status" -d '{}') || return 1
        id=$(sed -n 's/.*"member_id":"\([0-9]*\)".*/\1/p' <<< "$said")
        lead=$(sed -n 's/.*"leader":"\([0-9]*\)".*/\1/p' <<< "$said")
        [ -n "$id" ] && [ "$id" = "$lead" ] && etcd=${etcd_url[$i]} && return
    done
    return 1
}

# The pids of the whole of a cluster's: what a request costs in all.
three_pids() {
    local i
    for i in 1 2 3; do
        children "$(cat "$three/$i/nginx.pid")"
        cat "$three/$i/app.pid" "$three/$i/raft.pid"
    done
}

# peers_round get|post CONNECTIONS range|put
peers_round() {
    local key=peers.$1.$2
    etcd_found || { fail 'etcd has lost its leader'; return; }
    cpu_mark rollcall "$(three_pids)"
    measure_service "$key.rollcall" "$1" "$2" "$url"
    cpu_a_request "$key" rollcall "$line"
    cpu_mark etcd "$etcd_pids"
    measure "$key.etcd" "$3" "$2" "$etcd"
    cpu_a_request "$key" etcd "$line"
}

# peers_rows TITLE get|post CONNECTIONS
peers_rows() {
    local key=peers.$2.$3 unit
    for unit in rate p50_us p99_us; do
        row row "$1 c=$3 $unit" $key.rollcall.$unit $key.etcd.$unit
    done
    row row '  CPU us/request, all' $key.rollcall.cpu_us $key.etcd.cpu_us
    row row '  CPU that others used, %' $key.others
}

part_peers() {
    local c
    row text ''
    row text 'Beside etcd 3.4 (three servers, fsync on, JSON gateway of its leader), three nodes through'
    row text "their leader's nginx; POST beside put, GET of 10 users beside a linearizable range of 10 keys:"
    three_up && users_ten && etcd_up || return
    acknowledged=10 unknown=0 elections=0
    in_rounds peers.get.64 with_leader peers.get.64 peers_round get 64 range
    for c in 1 64; do
        in_rounds peers.post.$c with_leader peers.post.$c peers_round post $c put
    done
    row head '' rollcall etcd
    peers_rows POST post 1
    peers_rows POST post 64
    peers_rows GET get 64
    row ratio 'lone POST rate / etcd put' peers.post.1.rollcall.rate peers.post.1.etcd.rate '>=' 2.2
    row ratio '  (p50, the other way round)' peers.post.1.etcd.p50_us peers.post.1.rollcall.p50_us
    row ratio 'POST rate, c=64 / etcd put' peers.post.64.rollcall.rate peers.post.64.etcd.rate '>=' 4
    row ratio 'GET rate, c=64 / etcd range' peers.get.64.rollcall.rate peers.get.64.etcd.rate '>=' 5
    check_three_users
    stop_own
    three_down
}
