# shellcheck shell=bash
# A private PostgreSQL cluster that lives as long as its user: sourced by
# scripts/with-postgres, scripts/bench and the set-up script of cargo nextest.
#
#   pg_start test|durable   sets PG_DIR, PG_PORT, PG_PASSWORD, PG_URL, PG_BIN
#   pg_guard PID            removes the cluster once that process has gone
#   pg_stop DIR             removes it now
#
# `return` is always given its number: in an EXIT trap it would else be the exit code.

pg_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly pg_lib
readonly pg_install='sudo apt-get install postgresql'

pg_say() { printf 'postgres: %s\n' "$*" >&2; }

# The folder of PostgreSQL's server programs. `pg_config` may belong to a client
# alone, so each candidate is looked into.
pg_find() {
    local folder
    local candidates=()
    if command -v pg_config >/dev/null; then
        candidates+=("$(pg_config --bindir 2>/dev/null || true)")
    fi
    while IFS= read -r folder; do
        candidates+=("$folder")
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
    if command -v initdb >/dev/null; then
        candidates+=("$(dirname "$(command -v initdb)")")
    fi
    for folder in "${candidates[@]}"; do
        if [[ -x $folder/initdb && -x $folder/pg_ctl && -x $folder/postgres ]]; then
            printf '%s\n' "$folder"
            return 0
        fi
    done
    return 1
}

# Sets PG_BIN; as root on a system with apt, PostgreSQL is installed if need be.
pg_ensure() {
    if PG_BIN=$(pg_find); then return 0; fi
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        pg_say 'not installed; installing it with apt-get'
        "$pg_lib/apt-install" postgresql || pg_say 'apt-get failed'
        if PG_BIN=$(pg_find); then return 0; fi
    fi
    pg_say "not found. Install it: $pg_install"
    return 1
}

# The user that the server runs as: it refuses to run as root.
pg_user() {
    if [[ $(id -u) -ne 0 ]]; then return 0; fi
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# Runs a command as that user, from a folder that the user may enter.
pg_as() (
    user=$(pg_user)
    cd /
    if [[ -z $user ]]; then
        exec "$@"
    elif command -v runuser >/dev/null; then
        exec runuser -u "$user" -- "$@"
    elif command -v setpriv >/dev/null; then
        exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
    else
        exec su -s /bin/sh "$user" -c "$(printf '%q ' "$@")"
    fi
)

pg_random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# A fresh folder. A socket's path may have about 100 characters, and a private
# TMPDIR is closed to the server's user: then it is /tmp.
pg_make_folder() {
    local base=${TMPDIR:-/tmp} user
    user=$(pg_user)
    if ((${#base} > 60)) || ! pg_as test -x "$base"; then base=/tmp; fi
    PG_DIR=$(mktemp -d "${base%/}/todoctl-postgres.XXXXXX")
    if [[ -n $user ]]; then chown "$user" "$PG_DIR"; fi
}

# A port below those that the system hands out by itself.
pg_free_port() {
    local port try
    for ((try = 0; try < 50; try++)); do
        port=$((20000 + ((RANDOM << 15) | RANDOM) % 12000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
    done
    pg_say 'no free TCP port was found'
    return 1
}

pg_settings() {
    cat <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$PG_DIR'
track_activity_query_size = 16384
CONF
    if [[ $1 == durable ]]; then
        # For measurements: many clients of pgbench, and the quarter of the memory that PostgreSQL's
        # manual recommends ("Resource Consumption").
        printf '%s\n' 'max_connections = 400' 'fsync = on' 'synchronous_commit = on' \
            "shared_buffers = $(awk '/^MemTotal:/ { print int($2 / 4) "kB" }' /proc/meminfo)"
    else
        echo 'max_connections = 200'
        printf '%s = off\n' fsync full_page_writes synchronous_commit
    fi
}

# pg_start test|durable
pg_start() {
    local port try
    pg_ensure
    pg_make_folder
    PG_PASSWORD=$(pg_random 24)
    (umask 077 && printf '%s\n' "$PG_PASSWORD" >"$PG_DIR/password")
    if [[ -n $(pg_user) ]]; then chown "$(pg_user)" "$PG_DIR/password"; fi

    if ! pg_as "$PG_BIN/initdb" -D "$PG_DIR/data" --username=postgres --pwfile="$PG_DIR/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >"$PG_DIR/initdb.log" 2>&1; then
        tail -n 20 "$PG_DIR/initdb.log" >&2
        pg_stop "$PG_DIR"
        return 1
    fi
    rm -f "$PG_DIR/password"
    pg_settings "$1" >>"$PG_DIR/data/postgresql.conf"

    for ((try = 0; try < 5; try++)); do
        port=$(pg_free_port)
        # The server inherits no file descriptor, so that a reader of this script's output
        # does not wait for the server to end.
        if pg_as "$PG_BIN/pg_ctl" -D "$PG_DIR/data" -l "$PG_DIR/data/server.log" -o "-p $port" -w -s start \
            </dev/null >"$PG_DIR/start.log" 2>&1; then
            PG_PORT=$port
            PG_URL="postgresql://postgres:$PG_PASSWORD@127.0.0.1:$PG_PORT/postgres"
            # shellcheck disable=SC2034 # used by the scripts that source this file
            readonly PG_BIN PG_PORT PG_PASSWORD PG_URL
            return 0
        fi
        grep -q 'Address already in use' "$PG_DIR/data/server.log" || break
    done
    tail -n 20 "$PG_DIR/data/server.log" "$PG_DIR/start.log" >&2
    pg_stop "$PG_DIR"
    return 1
}

# Ends the server and deletes its folder, whatever state both are in.
pg_stop() {
    local folder=$1 bin
    if [[ ! -d $folder ]]; then return 0; fi
    if [[ -f $folder/data/postmaster.pid ]] && bin=$(pg_find); then
        # Nothing in it is wanted any more, so it need not be written out.
        pg_as "$bin/pg_ctl" -D "$folder/data" -m immediate -w -s stop >/dev/null 2>&1 || true
    fi
    rm -rf "$folder"
}

# pg_guard PID: a process of its own that outlives a killed caller.
pg_guard() {
    local detach=()
    if command -v setsid >/dev/null; then detach=(setsid); fi
    ${detach[@]+"${detach[@]}"} "$pg_lib/postgres-guard" "$1" "$PG_DIR" </dev/null >/dev/null 2>&1 &
    disown
}
