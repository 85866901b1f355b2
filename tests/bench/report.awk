# Medians with min and max, and ratios beside their targets.
#
#   awk -f report.awk RESULTS ROWS
#
# RESULTS: "key value" a line, one for each round, in the order of the rounds.
# ROWS, fields parted by "|":
#   text|any text
#   head|label|column|column…
#   row|label|key|key…
#   ratio|label|key|key[+key…]|>= or <=|target     round by round, then the median of the ratios;
#                                                  without a target where the last two are missing
#   limit|label|key|>= or <=|target|unit           the median itself
# A key without a value (its part failed or could not run) prints as "-" and misses its target.

function sorted(values, n,    i, j, v) {
    for (i = 2; i <= n; i++) {
        v = values[i]
        for (j = i - 1; j >= 1 && values[j] > v; j--)
            values[j + 1] = values[j]
        values[j + 1] = v
    }
}

function median(values, n) {
    return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
}

function digits(v) {
    return v >= 100 ? sprintf("%.0f", v) : v >= 10 ? sprintf("%.1f", v) : sprintf("%.2f", v)
}

# "median [min..max]" of one key
function spread(key,    n, i, values) {
    n = rounds[key]
    if (n == 0)
        return "-"
    for (i = 1; i <= n; i++)
        values[i] = value[key, i]
    sorted(values, n)
    if (n == 1)
        return digits(values[1])
    return digits(median(values, n)) " [" digits(values[1]) ".." digits(values[n]) "]"
}

function verdict(got, op, target) {
    if (op == ">=" ? got >= target : got <= target)
        return "reached"
    return sprintf("MISSED by %.0f %%", 100 * (op == ">=" ? 1 - got / target : got / target - 1))
}

function judge(label, values, n, op, target, unit,    got, shown) {
    if (n == 0) {
        printf "  %-46s %-24s target %s %s%s: not measured\n", label, "-", op, target, unit
        return
    }
    sorted(values, n)
    got = median(values, n)
    shown = digits(got) unit
    if (n > 1)
        shown = shown " [" digits(values[1]) ".." digits(values[n]) "]"
    if (op == "")
        printf "  %-46s %-24s\n", label, shown
    else
        printf "  %-46s %-24s target %s %s%s: %s\n", label, shown, op, target, unit,
            verdict(got, op, target)
}

FILENAME == ARGV[1] {
    value[$1, ++rounds[$1]] = $2
    next
}

{ count = split($0, field, "|") }

field[1] == "text" { print field[2] }

field[1] == "head" || field[1] == "row" {
    printf "  %-24s", field[2]
    for (i = 3; i <= count; i++)
        printf " %-26s", field[1] == "head" ? field[i] : spread(field[i])
    print ""
}

field[1] == "ratio" {
    parts = split(field[4], below, "+")
    n = rounds[field[3]]
    for (p = 1; p <= parts; p++)
        if (rounds[below[p]] < n)
            n = rounds[below[p]]
    delete ratio
    for (i = 1; i <= n; i++) {
        sum = 0
        for (p = 1; p <= parts; p++)
            sum += value[below[p], i]
        ratio[i] = sum > 0 ? value[field[3], i] / sum : 0
    }
    judge(field[2], ratio, n, field[5], field[6], "")
}

field[1] == "limit" {
    n = rounds[field[3]]
    delete single
    for (i = 1; i <= n; i++)
        single[i] = value[field[3], i]
    judge(field[2], single, n, field[4], field[5], field[6])
}
