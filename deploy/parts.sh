# What deploy/node and deploy/local share: saying what is wrong, finding programs and ports, and
# starting, watching and stopping a part by its pid file. Sourced; the sourcing script sets `dir`,
# `here`, NAME and the tables PID_FILE, SIGN and STOP_SIGNAL.
# shellcheck shell=bash disable=SC2154

umask 077 # what a directory of people leaves on a disk is nobody else's

say() { printf 'rollcall: %s%s\n' "${NAME-}" "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# --- arguments -----------------------------------------------------------------------------------

# What the environment or a file says is a text until this has judged it: arithmetic runs commands.
set_seconds() { # variable, setting, default
    local value=${!2-$3}
    [[ $value =~ ^(0|[1-9][0-9]{0,4})$ ]] || fail "$2=$value: a number of seconds from 0 to 99999 is needed"
    printf -v "$1" %s "$value"
}
set_seconds UP_SECONDS ROLLCALL_UP_SECONDS 60     # a part that starts
set_seconds DOWN_SECONDS ROLLCALL_DOWN_SECONDS 20 # a part that stops, before it is killed

# A folder that others own or may write to can hold anything under these names: links, pids, numbers.
# Root becomes who owns it.
check_owner() { # folder, this command…
    local owner group mode folder=$1
    shift
    [ -d "$folder" ] || return 0
    read -r owner group mode < <(stat -c '%u %g %a' -- "$folder")
    [ "$((8#$mode & 8#22))" -eq 0 ] ||
        fail "others may write to $folder (mode $mode), so nothing in it can be believed: chmod go-w $folder, if all in it is yours"
    [ "$owner" != "$EUID" ] || return 0
    [ "$EUID" -eq 0 ] ||
        fail "$folder belongs to $(stat -c %U -- "$folder") and not to $(id -un): do this as that user, or choose another --dir"
    exec setpriv --reuid "$owner" --regid "$group" --init-groups -- "$@"
}

# Whether only this machine can reach an address:port.
is_loopback() { [[ $1 =~ ^(127\.[0-9]+\.[0-9]+\.[0-9]+|localhost|\[::1\]):[0-9]+$ ]]; }

# The folder of a node stands in nginx.conf, in socket addresses and in command lines.
check_dir() {
    [[ $1 =~ ^[A-Za-z0-9/._+@:,=~-]+$ ]] ||
        fail "--dir $1: only letters, digits and / . _ + @ : , = ~ - may stand in it"
    local socket=$1/redis.sock
    [ ${#socket} -le 107 ] ||
        fail "--dir $1 is too long: a unix socket's path has at most 107 bytes, and $socket has ${#socket}; choose a shorter one"
}

check_address() { # option, value
    [[ $2 =~ ^([0-9.]+|\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$ ]] &&
        [ "$((10#${BASH_REMATCH[2]}))" -ge 1 ] && [ "$((10#${BASH_REMATCH[2]}))" -le 65535 ] ||
        fail "$1 $2: an address and a port from 1 to 65535 are needed, as in 127.0.0.1:8080"
}

make_dir() {
    mkdir -p "$1" 2>/dev/null && [ -w "$1" ] && chmod 700 "$1" ||
        fail "cannot write to $1: choose another --dir"
}

# --- programs ------------------------------------------------------------------------------------

need_programs() {
    local program missing=()
    PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nginx, and users do not look
    for program; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} -eq 0 ] ||
        fail "missing: ${missing[*]}; this installs them: sudo $here/packages run"
}

# ROLLCALL_BIN, or the build beside this script, or where make install put it, or the PATH.
find_bin() {
    local folder found
    for folder in "${ROLLCALL_BIN-}" "$here/../build/release" "$here/../../../bin"; do
        if [ -n "$folder" ] && [ -x "$folder/rollcall-node" ] && [ -x "$folder/rollcall-app" ]; then
            bin=$(cd "$folder" && pwd)
            return
        fi
        [ -z "$folder" ] || [ "$folder" != "${ROLLCALL_BIN-}" ] ||
            fail "ROLLCALL_BIN=$folder holds no rollcall-node and rollcall-app"
    done
    found=$(command -v rollcall-node) && [ -x "${found%/*}/rollcall-app" ] ||
        fail "rollcall-node and rollcall-app are not built: run make, or set ROLLCALL_BIN"
    bin=${found%/*}
}

# As whoever this is: workers must reach the sockets of this folder. In a session of its own (as is
# whatever else is started), so that a Ctrl-C does not break off what daemonizes itself.
nginx_command() { # configuration, log, option…
    local config=$1 log=$2 as=
    shift 2
    [ "$(id -u)" -ne 0 ] || as="user $(id -un) $(id -gn);"
    setsid nginx -p "$dir" -c "$config" -e "$log" ${as:+-g "$as"} "$@" 9>&-
}

# --- nginx.conf, front.conf ------------------------------------------------------------------------

# Writes such a file for this folder and address, beside what it includes. A tls.conf that stands in
# the folder switches TLS on; names are the address's own and ROLLCALL_NAMES, beside this machine
# ROLLCALL_WATCHERS may ask how it is, and ROLLCALL_FRONTS are believed about requests.
write_edge() { # template, file in dir, address:port, further sed script
    local tls='' names='' name watchers='' watcher fronts='' front own=${3%:*} limits='' files
    files=$(ulimit -Hn) # more than this nginx may not have, and would say so at each start
    [[ ! $files =~ ^[0-9]+$ ]] || [ "$files" -ge 40000 ] ||
        limits="s/^\\(worker_rlimit_nofile\\) .*/\\1 $files;/; s/^\\( *worker_connections\\) .*/\\1 $((files * 4 / 5));/"
    [ ! -e "$dir/tls.conf" ] || tls='s|# include tls.conf;|include tls.conf;|'
    # shellcheck disable=SC2086
    for name in $(printf '%s\n' "${3%:*}" ${ROLLCALL_NAMES-} | tr '[:upper:]' '[:lower:]' | sort -u); do
        [[ $name =~ ^[a-z0-9.-]+$ || $name == "${3%:*}" ]] ||
            fail "ROLLCALL_NAMES: $name is no name of a host: letters, digits, - and . make one"
        [[ $name =~ ^([0-9.]+|\[.*\]|localhost)$ ]] || names="$names\\n    $name 0;"
    done
    own=${own#[} own=${own%]}
    case $own in 0.0.0.0 | :: | *[!0-9a-fA-F.:]*) own='' ;; esac
    for watcher in $own ${ROLLCALL_WATCHERS-}; do
        [[ $watcher =~ ^[0-9a-fA-F.:]+(/[0-9]+)?$ ]] ||
            fail "ROLLCALL_WATCHERS: $watcher is no address and no network: 10.0.0.5 and 10.1.0.0/16 are"
        watchers="$watchers\nallow $watcher;"
    done
    for front in ${ROLLCALL_FRONTS-}; do
        [[ $front =~ ^[0-9]+(\.[0-9]+){3}$|^[0-9a-f]*:[0-9a-f:]+$ ]] ||
            fail "ROLLCALL_FRONTS: $front is no address as nginx writes it: 10.0.0.5 and 2001:db8::5 are"
        fronts="$fronts\\n    $front 1;"
    done
    mkdir -p "$dir/tmp" "$dir/log" &&
        cp "$here"/{problems,headers,log}.conf "$dir" &&
        sed "s|^    localhost 0;|&$names|; s|^    \"unix:\" 1;|&$fronts|" "$here/guard.conf" >"$dir/guard.conf" &&
        sed "s|^allow ::1;|&$watchers|" "$here/watchers.conf" >"$dir/watchers.conf" &&
        sed "s|/var/lib/rollcall|$dir|g; s|127\.0\.0\.1:8080|$3|g; $tls
             $limits
             ${4-}" "$1" >"$dir/$2" &&
        nginx_command "$dir/$2" "$dir/log/${2%.conf}.log" -t -q
}

# --- small logs --------------------------------------------------------------------------------------

start_rotate() {
    setsid "$here/rotate" "$dir" </dev/null >>"$dir/log/rotate.log" 2>&1 9>&- &
    started=$!
    wait_until rotate_is_up rotate
}
rotate_is_up() { part_pid rotate >/dev/null; }

# --- who may ask -----------------------------------------------------------------------------------

# The workers' tokens: ROLLCALL_TOKENS, else the file `tokens` of the folder, where there is one.
find_tokens() {
    if [ -z "${ROLLCALL_TOKENS-}" ]; then
        unset ROLLCALL_TOKENS
        [ ! -e "$dir/tokens" ] || export ROLLCALL_TOKENS=$dir/tokens
    else
        [ -r "$ROLLCALL_TOKENS" ] || fail "ROLLCALL_TOKENS=$ROLLCALL_TOKENS: there is no such file to read"
        ROLLCALL_TOKENS=$(realpath -- "$ROLLCALL_TOKENS")
        export ROLLCALL_TOKENS
    fi
}

# Whoever reaches an address that is not this machine's alone must say who may ask there.
check_access() { # address:port
    ! is_loopback "$1" || return 0
    [ -n "${ROLLCALL_TOKENS-}" ] || [ "${ROLLCALL_OPEN_ACCESS-}" = yes ] ||
        fail "--http $1 can be reached from elsewhere, and nothing says who may ask: put lines of \`rollcallctl token\` into $dir/tokens (or name another file by ROLLCALL_TOKENS), or set ROLLCALL_OPEN_ACCESS=yes to let everybody in"
}

# The same for other nodes, of whom nothing proves yet that they are.
check_raft() { # address:port
    is_loopback "$1" || [ "${ROLLCALL_OPEN_RAFT-}" = yes ] ||
        fail "--raft $1 can be reached by other machines, and whoever reaches it can read and change everything: put it on a network of the nodes' own and set ROLLCALL_OPEN_RAFT=yes, or choose a loopback address"
}

# --- one at a time -------------------------------------------------------------------------------

lock() {
    [ ! -L "$1/.lock" ] || fail "$1/.lock is a link: remove it"
    exec 9>>"$1/.lock" || fail "cannot write to $1"
    flock -w "$UP_SECONDS" 9 || fail "another deploy command works on $1; try again when it is done"
}

# --- processes -----------------------------------------------------------------------------------

# Empty for a process that has ended, a zombie included.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null; }

# Whether a process runs: zombies do not. (Its command line says nothing in the midst of an exec.)
lives() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    stat=${stat##*) }
    [[ ${stat%% *} != [ZX] ]]
}

# Prints the pid of a part when it runs: its pid file names a process, and that process is it.
part_pid() {
    local pid=
    { read -r pid <"$dir/${PID_FILE[$1]}"; } 2>/dev/null
    [[ $pid =~ ^[1-9][0-9]*$ ]] || return 1
    is_part "$1" "$pid" && is_program "$1" "$pid" && echo "$pid"
}

# Whether a process is ours and runs the program of a part, whatever its command line says.
is_program() { # part, pid
    local exe
    [ -O "/proc/$2" ] && exe=$(readlink "/proc/$2/exe") || return 1
    exe=${exe% (deleted)} exe=${exe##*/}
    # shellcheck disable=SC2053 # the right side is a pattern
    [[ $exe == ${PROGRAM[$1]} ]]
}

is_part() { # part, pid
    # shellcheck disable=SC2053 # the right side is a pattern
    [ -O "/proc/$2" ] && [[ $(command_line "$2") == ${SIGN[$1]} ]]
}

# Processes that the dead leader `pid` of a session left behind: workers whose master was killed. A pid
# file may be of before a reboot and its number be anybody's since: they are ours only if they run the
# part's program as this user with a file of this very folder open.
orphans() { # part, pid
    local stat rest file part=$1
    shift
    for file in /proc/[0-9]*/stat; do
        { read -r stat <"$file"; } 2>/dev/null || continue
        rest=${stat##*) }
        # shellcheck disable=SC2086
        set -- "$1" $rest
        [ "$5" = "$1" ] && [ "$2" != Z ] || continue
        file=${file%/stat}
        is_program "$part" "${file#/proc/}" &&
            [ -n "$(find "$file/fd" -lname "$dir/*" -print -quit 2>/dev/null)" ] || continue
        echo "${file#/proc/}"
    done
}

# Makes room for a part that does not run: ends its orphans, removes its pid file and socket.
sweep() {
    local pid='' i
    { read -r pid <"$dir/${PID_FILE[$1]}"; } 2>/dev/null
    if [[ $pid =~ ^[1-9][0-9]*$ ]] && ! lives "$pid"; then
        local left
        left=$(orphans "$1" "$pid")
        if [ -n "$left" ]; then
            say "$1 was gone and left workers behind: ending $(echo $left)"
            # shellcheck disable=SC2086
            kill -KILL $left 2>/dev/null
            for pid in $left; do
                for ((i = 0; i < 100; i++)); do
                    lives "$pid" || break
                    sleep 0.05
                done
            done
        fi
    fi
    rm -f "$dir/${PID_FILE[$1]}"
    case $1 in
    app) rm -f "$dir/app.pid" ;;&
    app | redis | raft) [ ! -S "$dir/$1.sock" ] || rm -f "$dir/$1.sock" ;;
    nginx) [ ! -S "$dir/front.sock" ] || rm -f "$dir/front.sock" ;;
    esac
}

# Looks for the process of a part by its command line alone.
find_part() {
    local file
    for file in /proc/[0-9]*; do
        is_part "$1" "${file#/proc/}" && echo "${file#/proc/}" && return
    done
    return 1
}

# Stops a part that up started a moment ago, before it may have written its pid file.
stop_started() {
    sleep 0.2
    local pid
    if ! part_pid "$1" >/dev/null && pid=$(find_part "$1"); then
        echo "$pid" >"$dir/${PID_FILE[$1]}"
    fi
    stop_part "$1"
}

stop_part() {
    local pid i
    if pid=$(part_pid "$1"); then
        kill -"${STOP_SIGNAL[$1]}" "$pid" 2>/dev/null
        for ((i = 0; i < DOWN_SECONDS * 20; i++)); do
            is_part "$1" "$pid" || break
            sleep 0.05
        done
        if is_part "$1" "$pid"; then
            say "$1 (pid $pid) did not stop within $DOWN_SECONDS s: killing it"
            kill -KILL "$pid" 2>/dev/null
            sleep 0.1
            # shellcheck disable=SC2046
            kill -KILL $(orphans "$1" "$pid") 2>/dev/null
        fi
        for ((i = 0; i < 100; i++)); do
            is_part "$1" "$pid" || break
            sleep 0.05
        done
        ! is_part "$1" "$pid" || { say "$1 (pid $pid) cannot be stopped"; return 1; }
    elif { read -r pid <"$dir/${PID_FILE[$1]}"; } 2>/dev/null && [[ $pid =~ ^[1-9][0-9]*$ ]] &&
        lives "$pid" && is_program "$1" "$pid"; then
        say "$1 (pid $pid) of $dir/${PID_FILE[$1]} was not started from this folder and is left alone: $(command_line "$pid")"
        return 1
    fi
    sweep "$1"
}

# --- waiting -------------------------------------------------------------------------------------

# Waits until the command holds; gives up when the part dies first, or after UP_SECONDS.
wait_until() { # command, part
    local end=$((SECONDS + UP_SECONDS))
    while ! $1; do
        [ -z "$started" ] || lives "$started" || return 1
        if [ $SECONDS -ge $end ]; then
            say "$2: no sign of life within $UP_SECONDS s ($1)"
            return 1
        fi
        sleep 0.05
    done
}

mark_log() { log_start=$(stat -c %s "$dir/log/$1.log" 2>/dev/null || echo 0); }
new_log() { tail -c "+$((log_start + 1))" "$dir/log/$1.log" 2>/dev/null; }
show_log() {
    say "$1 says:"
    new_log "$1" | tail -n 10 | sed 's/^/    /' >&2
}

# The answer to GET path, without any program but this shell; nothing when nothing answers.
http_get() { # address:port, path
    local host=${1%:*} port=${1##*:} line
    host=${host#[} host=${host%]}
    case $host in 0.0.0.0) host=127.0.0.1 ;; ::) host=::1 ;; esac
    {
        exec 8<>"/dev/tcp/$host/$port" &&
            printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&8 &&
            while read -r -t 5 line <&8 || [ -n "$line" ]; do echo "$line"; done
        exec 8>&-
    } 2>/dev/null
}

# Its status; 000 when nothing answers.
http_status() { # address:port, path
    local answer
    read -r _ answer _ < <(http_get "$1" "$2")
    echo "${answer:-000}"
}

# --- ports ---------------------------------------------------------------------------------------

# Fails when something listens there already, and says who, where that can be known.
port_free() { # address:port, the option that chooses it
    local host=${1%:*} port=${1##*:} hex local state inode who=
    printf -v hex %04X "$port"
    while read -r _ local _ state _ _ _ _ _ inode _; do
        [ "$state" = 0A ] && [ "${local##*:}" = "$hex" ] || continue
        same_host "$host" "${local%:*}" || continue
        who=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1 | cut -d/ -f3)
        who=${who:+ by pid $who ($(command_line "$who" | tr -s ' ' | head -c 80))}
        fail "$1 is taken$who; choose another with $2"
    done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

# Whether a listener on the kernel's hexadecimal address keeps us from listening on `host`.
same_host() {
    local ours
    case $1 in # an IPv6 address has 32 digits there, and shares no port with an IPv4 one
    '[::1]') [[ $2 =~ ^0{32}$ || $2 = 00000000000000000000000001000000 ]]; return ;;
    '['*) [ ${#2} -eq 32 ]; return ;;
    esac
    [[ $1 =~ ^([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)$ ]] || return 0
    printf -v ours %02X%02X%02X%02X "${BASH_REMATCH[4]}" "${BASH_REMATCH[3]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[1]}"
    [ "$ours" = 00000000 ] || [[ $2 =~ ^0+$ ]] || [[ $2 == *"$ours" ]]
}
