# Items: one user read and changed, beside the no-op and beside POST; sourced by run.
# shellcheck shell=bash disable=SC2154,SC2034

# items_beside: 100 users to $url; url_one and url_hundred, no-ops that answer as GET /users/7 and
# GET /users do
items_beside() {
    local i
    users_ten
    for ((i = 11; i <= 100; i++)); do
        curl -sf -o "$TMP/more.http" -H 'Content-Type: application/json' \
            -d "{\"name\":\"$((9999 + i)) of 100 users\"}" "$url/users" || fail "POST of user $i"
    done
    as_fastcgi "$TMP/post.http" > "$TMP/post.answer"
    curl -si "$url/users/7" > "$TMP/one.http"
    as_fastcgi "$TMP/one.http" > "$TMP/get.answer"
    noop_up one 1
    curl -si "$url/users" > "$TMP/hundred.http"
    as_fastcgi "$TMP/hundred.http" > "$TMP/get.answer"
    noop_up hundred 1
}

# What a round measures: the service, each way, in turn with the no-ops.
items_round() {
    local mode
    measure "$1.one" item 64 "$url_one"
    for mode in item item-stale item-304 post replace patch; do
        measure "$1.$mode" "$mode" 64 "$url"
    done
}

# Before anything else is written: the list has 100 users then.
hundred_round() {
    measure hundred.list get 64 "$url"
    measure hundred.noop get 64 "$url_hundred"
}

# items_rows KEY LINEARIZABLE-TARGET
items_rows() {
    local key=$1 mode
    row head '' rate p50_us p99_us
    for mode in one item item-stale item-304 post replace patch; do
        row row "  $mode" "$key.$mode.rate" "$key.$mode.p50_us" "$key.$mode.p99_us"
    done
    row row '  CPU that others used, %' "$key.others"
    row ratio 'GET /users/{id} / no-op' "$key.item.rate" "$key.one.rate" '>=' "$2"
    row ratio '  the same, stale' "$key.item-stale.rate" "$key.one.rate" '>=' 0.7
    row ratio '  304 / 200' "$key.item-304.rate" "$key.item.rate" '>=' 1.0
    row ratio 'PUT rate / POST rate' "$key.replace.rate" "$key.post.rate" '>=' 0.9
    row ratio 'PATCH rate / POST rate' "$key.patch.rate" "$key.post.rate" '>=' 0.9
}

part_items() {
    row text ''
    row text "One user of a directory, one node, c=64:"
    stack_up items && items_beside || return
    in_rounds hundred hundred_round
    row head '' service no-op
    row row 'GET /users of 100: rate' hundred.list.rate hundred.noop.rate
    row row '  p50_us' hundred.list.p50_us hundred.noop.p50_us
    row ratio 'GET /users of 100 / no-op' hundred.list.rate hundred.noop.rate '>=' 0.5
    in_rounds items items_round items
    items_rows items 0.65
    http_teardown
    row text ''
    row text "One user of a directory, three nodes, through the leader, c=64:"
    three_up && items_beside || return
    in_rounds items3 items_round items3
    items_rows items3 0.6
    stop_own
    three_down
}
