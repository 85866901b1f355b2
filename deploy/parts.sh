# What deploy/node and deploy/local share: saying what is wrong, finding programs and ports, and
# starting, watching and stopping a part by its pid file. Sourced; the sourcing script sets `dir`,
# `here`, NAME and the tables PID_FILE, PROGRAM, SIGN and STOP_SIGNAL.
#
# A process costs milliseconds, and a cluster's `up` asks hundreds of times. So what is asked again and
# again starts none: it answers in a variable, which its comment names.
# shellcheck shell=bash disable=SC2154

umask 077 # what a directory of people leaves on a disk is nobody else's
trap : PIPE # a server that goes away while it is asked: that write fails, and nothing else does
exec 7<> <(:) # of which nothing ever comes, see pause

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
# Root becomes who owns it, or `rollcall` for one that is new.
check_owner() { # folder, this command…
    local owner group mode folder=$1
    shift
    [ -d "$folder" ] || make_for_rollcall "$folder" || return 0
    read -r owner group mode < <(stat -c '%u %g %a' -- "$folder")
    [ "$((8#$mode & 8#22))" -eq 0 ] ||
        fail "others may write to $folder (mode $mode), so nothing in it can be believed: chmod go-w $folder, if all in it is yours"
    [ "$owner" != "$EUID" ] || { check_root "$folder" && return 0; }
    [ "$EUID" -eq 0 ] ||
        fail "$folder belongs to $(stat -c %U -- "$folder") and not to $(id -un): do this as that user, or choose another --dir"
    exec setpriv --reuid "$owner" --regid "$group" --init-groups -- "$@"
}

# Whether this is a root that would start something, and nobody said that it may.
is_mere_root() { # folder
    [ "$EUID" -eq 0 ] && [[ $verb == @(up|run|redis) ]] && [ "${ROLLCALL_ALLOW_ROOT-}" != yes ] && [ ! -e "$1/as-root" ]
}

make_for_rollcall() { # folder
    is_mere_root "$1" && id -u rollcall >/dev/null 2>&1 &&
        install -d -o rollcall -g "$(id -g rollcall)" -m 700 -- "$1"
}

# Whoever breaks into a worker of nginx that is root has the host. What was allowed once is remembered.
check_root() { # folder
    ! is_mere_root "$1" ||
        fail "as root everything would run as root, nginx' workers too: do this as another user; or useradd --system rollcall, and give that one $1 (chown -R); or where there is nobody else, as in a container, set ROLLCALL_ALLOW_ROOT=yes"
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
    install -d -m 700 -- "$1"/{,log,tmp} 2>/dev/null && [ -w "$1" ] ||
        fail "cannot write to $1: choose another --dir"
    [ "$EUID" -ne 0 ] || [ "${ROLLCALL_ALLOW_ROOT-}" != yes ] || : >"$1/as-root"
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

# Becomes a program without our descriptors, in a session of its own, so that a Ctrl-C does not break
# off what daemonizes itself.
become() {
    exec setsid "$@" 7>&- 9>&-
}

# As whoever this is: workers must reach the sockets of this folder.
nginx_command() { # configuration in dir, option…
    local config=$1 as=
    shift
    [ "$EUID" -ne 0 ] || as='user root;'
    (become nginx -p "$dir" -c "$dir/$config" -e "$dir/log/${config%.conf}.log" ${as:+-g "$as"} "$@")
}

# --- nginx.conf, front.conf ------------------------------------------------------------------------

# Writes such a file for this folder and address, beside what it includes. A tls.conf that stands in
# the folder switches TLS on; names are the address's own and ROLLCALL_NAMES, beside this machine
# ROLLCALL_WATCHERS may ask how it is, and ROLLCALL_FRONTS are believed about requests.
write_edge() { # template, address:port, further sed script
    local tls='' names='' name watchers='' watcher fronts='' front own=${2%:*} limits='' files
    files=$(ulimit -Hn) # more than this nginx may not have, and would say so at each start
    [[ ! $files =~ ^[0-9]+$ ]] || [ "$files" -ge 40000 ] ||
        limits="s/^\\(worker_rlimit_nofile\\) .*/\\1 $files;/; s/^\\( *worker_connections\\) .*/\\1 $((files * 4 / 5));/"
    [ ! -e "$dir/tls.conf" ] || tls='s|# include tls.conf;|include tls.conf;|'
    for name in "$own" ${ROLLCALL_NAMES-}; do
        name=${name,,}
        [[ $name =~ ^[a-z0-9.-]+$ || $name == "${own,,}" ]] ||
            fail "ROLLCALL_NAMES: $name is no name of a host: letters, digits, - and . make one"
        [[ $name =~ ^([0-9.]+|\[.*\]|localhost)$ || $names == *" $name 0;"* ]] ||
            names="$names\\n    $name 0;"
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
    cp -- "$1" "$here"/{problems,headers,log,guard,watchers}.conf "$dir" &&
        sed -i "s|/var/lib/rollcall|$dir|g; s|127\.0\.0\.1:8080|$2|g; $tls
                $limits
                s|^    localhost 0;|&$names|
                s|^    \"unix:\" 1;|&$fronts|
                s|^allow ::1;|&$watchers|
                ${3-}" "$dir/${1##*/}" "$dir"/{guard,watchers}.conf
}

# --- small logs --------------------------------------------------------------------------------------

start_rotate() {
    become "$here/rotate" "$dir" </dev/null >>"$dir/log/rotate.log" 2>&1 &
    started=$!
    wait_until 'runs rotate' rotate
}

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

# Into `line`; nothing for a process that has ended, a zombie included.
read_command_line() { # pid
    local words=()
    { mapfile -d '' -t words <"/proc/$1/cmdline"; } 2>/dev/null
    line=${words[*]:+"${words[*]} "}
}

# Whether a process runs: zombies do not. (Its command line says nothing in the midst of an exec.)
lives() { # pid
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    stat=${stat##*) }
    [[ ${stat%% *} != [ZX] ]]
}

# Whether a part runs: its pid file names a process, and that process is it. Its number is in `pid`.
runs() { # part
    read_pid "$1" && is_part "$1" "$pid" && is_program "$1" "$pid"
}

# Into `pid` what the pid file of a part says; empty when that is no number.
read_pid() { # part
    pid=
    { read -r pid <"$dir/${PID_FILE[$1]}"; } 2>/dev/null
    [[ $pid =~ ^[1-9][0-9]*$ ]] || { pid= && return 1; }
}

# Whether a process is ours and runs the program of a part, whatever its command line says.
is_program() { # part, pid
    local name=
    [ -O "/proc/$2" ] && { read -r name <"/proc/$2/comm"; } 2>/dev/null && [ "$name" = "${PROGRAM[$1]}" ]
}

is_part() { # part, pid
    local line
    read_command_line "$2"
    # shellcheck disable=SC2053 # the right side is a pattern
    [ -O "/proc/$2" ] && [[ $line == ${SIGN[$1]} ]]
}

# Into `left` the processes that the dead leader `pid` of a session left behind: workers whose master was
# killed. A pid file may be of before a reboot and its number be anybody's since: they are ours only if
# they run the part's program as this user with a file of this very folder open.
find_orphans() { # part, pid
    local stat file words
    left=()
    for file in /proc/[0-9]*/stat; do
        { read -r stat <"$file"; } 2>/dev/null || continue
        read -r -a words <<<"${stat##*) }" # state, parent, group, session
        [ "${words[3]}" = "$2" ] && [ "${words[0]}" != Z ] || continue
        file=${file%/stat}
        is_program "$1" "${file#/proc/}" &&
            [ -n "$(find "$file/fd" -lname "$dir/*" -print -quit 2>/dev/null)" ] || continue
        left+=("${file#/proc/}")
    done
}

# Makes room for a part that does not run: ends its orphans, removes its pid file and socket.
sweep() { # part
    local pid left file files=("$dir/${PID_FILE[$1]}")
    if read_pid "$1" && ! lives "$pid"; then
        find_orphans "$1" "$pid"
        if [ ${#left[@]} -gt 0 ]; then
            say "$1 was gone and left workers behind: ending ${left[*]}"
            kill -KILL "${left[@]}" 2>/dev/null
            for pid in "${left[@]}"; do
                wait_for_end "lives $pid" 5
            done
        fi
    fi
    case $1 in
    app) files+=("$dir/app.pid") ;;&
    app | redis | raft) [ ! -S "$dir/$1.sock" ] || files+=("$dir/$1.sock") ;;
    nginx) [ ! -S "$dir/front.sock" ] || files+=("$dir/front.sock") ;;
    esac
    for file in "${files[@]}"; do
        [ ! -e "$file" ] || rm -f -- "$file"
    done
}

# Redis and spawn-fcgi remove whatever has the name of their socket.
check_socket() { # part
    local socket=$dir/$1.sock
    [ ! -e "$socket" ] || [ -S "$socket" ] || fail "$socket is no socket, and would be removed: move it away"
}

# Into `pid` the process of a part, looked for by its command line alone.
find_part() { # part
    local file
    for file in /proc/[0-9]*; do
        pid=${file#/proc/}
        ! is_part "$1" "$pid" || return 0
    done
    return 1
}

# Stops a part that up started a moment ago, before it may have written its pid file.
stop_started() { # part
    sleep 0.2
    local pid
    runs "$1" || ! find_part "$1" || echo "$pid" >"$dir/${PID_FILE[$1]}"
    stop_part "$1"
}

stop_part() { # part
    local pid left line
    if runs "$1"; then
        kill -"${STOP_SIGNAL[$1]}" "$pid" 2>/dev/null
        if ! wait_for_end "is_part $1 $pid" "$DOWN_SECONDS"; then
            say "$1 (pid $pid) did not stop within $DOWN_SECONDS s: killing it"
            find_orphans "$1" "$pid"
            kill -KILL "$pid" "${left[@]}" 2>/dev/null
        fi
        wait_for_end "is_part $1 $pid" 5 || { say "$1 (pid $pid) cannot be stopped"; return 1; }
    elif [ -n "$pid" ] && lives "$pid" && is_program "$1" "$pid"; then
        read_command_line "$pid"
        say "$1 (pid $pid) of $dir/${PID_FILE[$1]} was not started from this folder and is left alone: $line"
        return 1
    fi
    sweep "$1"
}

# --- waiting -------------------------------------------------------------------------------------

pause() { ! read -r -t 0.02 -u 7; }

# Waits until the command holds; gives up when the part dies first, or after UP_SECONDS.
wait_until() { # command, part
    local end=$((SECONDS + UP_SECONDS))
    while ! $1; do
        [ -z "$started" ] || lives "$started" || return 1
        if [ $SECONDS -ge $end ]; then
            say "$2: no sign of life within $UP_SECONDS s ($1)"
            return 1
        fi
        pause
    done
}

# Waits until the command holds no more, so many seconds at most.
wait_for_end() { # command, seconds
    local end=$((SECONDS + $2))
    while $1; do
        [ $SECONDS -lt $end ] || return 1
        pause
    done
}

mark_log() { # part
    log_start=0
    [ ! -s "$dir/log/$1.log" ] || log_start=$(stat -c %s -- "$dir/log/$1.log")
}
new_log() { tail -c "+$((log_start + 1))" "$dir/log/$1.log" 2>/dev/null; } # part
show_log() { # part
    say "$1 says:"
    new_log "$1" | tail -n 10 | sed 's/^/    /' >&2
}

# Whether GET path is answered with 200.
answers() { # address:port, path
    local host=${1%:*} port=${1##*:} status=
    host=${host#[} host=${host%]}
    case $host in 0.0.0.0) host=127.0.0.1 ;; ::) host=::1 ;; esac
    {
        exec 8<>"/dev/tcp/$host/$port" &&
            printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&8 &&
            read -r -t 5 _ status _ <&8
        exec 8>&-
    } 2>/dev/null
    [ "$status" = 200 ]
}

# --- ports ---------------------------------------------------------------------------------------

# Fails when something listens there already, and says who, where that can be known.
port_free() { # address:port, the option that chooses it
    local host=${1%:*} hex table lines entry words who line
    printf -v hex %04X "${1##*:}"
    for table in /proc/net/tcp /proc/net/tcp6; do
        # All of it at once: the kernel walks its table from the start for each part that is read.
        { mapfile -t lines <"$table"; } 2>/dev/null
        for entry in "${lines[@]}"; do
            [[ $entry == *":$hex "*:0000\ 0A\ * ]] || continue
            read -r -a words <<<"$entry"
            same_host "$host" "${words[1]%:*}" || continue
            who=$(find /proc/[0-9]*/fd -lname "socket:\[${words[9]}\]" 2>/dev/null | head -n 1 | cut -d/ -f3)
            read_command_line "${who:-none}"
            fail "$1 is taken${who:+" by pid $who (${line:0:80})"}; choose another with $2"
        done
    done
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
