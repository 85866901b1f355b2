# Ten times what the service can do; sourced by run.
# shellcheck shell=bash disable=SC2154,SC2034

# overload_line CONNECTIONS MS BACK_OFF_MS
overload_line() {
    "$BIN/overload" --port "${url##*:}" --connections "$1" --ms "$2" --back-off-ms "$3"
}

# What the processes that the crowd meets hold, in KiB; not what the node keeps of each user.
edge_kib() {
    local pid sum=0
    for pid in $(cat "$dir/app.pid") $(children "$(cat "$dir/nginx.pid")"); do
        sum=$((sum + $(rss_kib "$pid")))
    done
    echo $sum
}

# Clients that are in others' way, each from an address of its own, for MS.
nuisances() { # MS
    local kind i=2 from
    nuisance_pids=
    for kind in slow-bodies slow-bodies slow-bodies slow-bodies waits hang-ups; do
        from=127.0.0.$((i++))
        "$BIN/nuisance" "$kind" --port "${url##*:}" --from "$from" --connections 64 --ms "$1" > /dev/null &
        nuisance_pids="$nuisance_pids $!"
    done
    "$BIN/nuisance" half-heads --port "${url##*:}" --from 127.0.0.99 --connections 8000 --ms "$1" > /dev/null &
    nuisance_pids="$nuisance_pids $!"
}

overload_round() {
    record overload.capacity "$(overload_line 256 "$round_ms" 1)"
    overload_line 2560 1000 1000 > /dev/null # all have come once
    result overload.before.kib "$(edge_kib)"
    record overload.ten "$(overload_line 2560 "$overload_ms" 1000)"
    result overload.ten.kib "$(edge_kib)"
    nuisances $((round_ms + 3000))
    sleep 2
    record overload.nuisance "$(overload_line 256 "$round_ms" 1)"
    # shellcheck disable=SC2086
    wait $nuisance_pids
    record overload.rude "$(overload_line 2560 "$((overload_ms / 6))" 100)"
    result overload.rude.kib "$(edge_kib)"
}

part_overload() {
    local overload_ms=60000 rounds=2
    [ -z "$quick" ] || overload_ms=12000
    row text ''
    row text "POST /users over 256 connections, as many as the service takes at a time, and over 2560 that ask again"
    row text "1 s after a refusal, as Retry-After says, or ten times as soon:"
    stack_up overload || return
    sed -i 's|127.0.0.0/8|127.0.0.1|' "$dir/guard.conf" # other addresses of this machine are clients
    kill -HUP "$(cat "$dir/nginx.pid")"
    in_rounds overload overload_round
    row head '' 'at capacity' 'ten times' 'impatient'
    row row 'accepted a second' overload.capacity.rate overload.ten.rate overload.rude.rate
    row row '  p50_us' overload.capacity.accepted_p50_us overload.ten.accepted_p50_us \
        overload.rude.accepted_p50_us
    row row '  p99_us' overload.capacity.accepted_p99_us overload.ten.accepted_p99_us \
        overload.rude.accepted_p99_us
    row row 'refused' overload.capacity.refused_count overload.ten.refused_count \
        overload.rude.refused_count
    row row '  p50_us' overload.capacity.refused_p50_us overload.ten.refused_p50_us \
        overload.rude.refused_p50_us
    row row '  p99_us' overload.capacity.refused_p99_us overload.ten.refused_p99_us \
        overload.rude.refused_p99_us
    row row 'neither (errors)' overload.capacity.errors overload.ten.errors overload.rude.errors
    row row 'memory of nginx and workers, KiB' overload.before.kib overload.ten.kib overload.rude.kib
    row row 'CPU that others used, %' overload.others
    row ratio 'p99 of the accepted, ten times / at capacity' overload.ten.accepted_p99_us \
        overload.capacity.accepted_p99_us '<=' 2
    row text 'At capacity beside six clients whose bodies drip, who wait for min_index or hang up, and 8000 heads of one:'
    row row 'accepted a second' overload.nuisance.rate
    row row '  p99_us' overload.nuisance.accepted_p99_us
    row row 'refused' overload.nuisance.refused_count
    row row 'neither (errors)' overload.nuisance.errors
    row ratio 'p99 of the accepted beside these / at capacity' overload.nuisance.accepted_p99_us \
        overload.capacity.accepted_p99_us '<=' 2
    row limit 'p99 of a refusal, us' overload.ten.refused_p99_us '<=' 5000 ''
    row ratio 'memory after it / before' overload.ten.kib overload.before.kib '<=' 1.1
    http_teardown
}
