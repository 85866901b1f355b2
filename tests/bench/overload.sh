# Ten times what the service can do; sourced by run.
# shellcheck shell=bash disable=SC2154,SC2034

# overload_line CONNECTIONS MS
overload_line() {
    "$BIN/overload" --port "${url##*:}" --connections "$1" --ms "$2"
}

# What all processes of the stack hold, in KiB, but for what the node keeps of each user.
stack_kib() {
    local pid sum=0
    for pid in $(cat "$dir/app.pid") $(children "$(cat "$dir/nginx.pid")"); do
        sum=$((sum + $(rss_kib "$pid")))
    done
    echo $sum
}

overload_round() {
    record overload.capacity "$(overload_line 256 "$round_ms")"
    line=$(overload_line 2560 "$overload_ms")
    record overload.ten "$line"
    result overload.kib "$(stack_kib)"
}

part_overload() {
    local overload_ms=20000
    [ -z "$quick" ] || overload_ms=5000
    row text ''
    row text "POST /users over 256 connections, and over 2560 that ask again 0.1 s after a refusal:"
    stack_up overload || return
    in_rounds overload overload_round
    row head '' 'at capacity' 'ten times'
    row row 'accepted a second' overload.capacity.rate overload.ten.rate
    row row '  p50_us' overload.capacity.accepted_p50_us overload.ten.accepted_p50_us
    row row '  p99_us' overload.capacity.accepted_p99_us overload.ten.accepted_p99_us
    row row 'refused' overload.capacity.refused_count overload.ten.refused_count
    row row '  p99_us' overload.capacity.refused_p99_us overload.ten.refused_p99_us
    row row 'memory of nginx and workers after it, KiB' overload.kib
    row row 'CPU that others used, %' overload.others
    row ratio 'p99 of the accepted, ten times / at capacity' overload.ten.accepted_p99_us \
        overload.capacity.accepted_p99_us '<=' 2
    row limit 'p99 of a refusal, us' overload.ten.refused_p99_us '<=' 5000 ''
    http_teardown
}
