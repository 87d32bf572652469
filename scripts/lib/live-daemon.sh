# shellcheck shell=bash
# A daemon of the debug build that lives as long as its user: sourced by
# scripts/lib/schemathesis-run and scripts/lib/browser-run.
#
#   live_build                    sets LIVE_TODOCTL
#   live_start sqlite|postgres    sets LIVE_URL, LIVE_SERVICE_TOKEN, and DATABASE_URL and
#                                 the secrets for commands beside the daemon
#   live_stop                     ends it, and deletes what it kept
#
# PostgreSQL is the server that TODOCTL_TEST_POSTGRES_URL names (scripts/with-postgres);
# each daemon has a database of its own there.

live_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly live_lib
# shellcheck source=scripts/lib/postgres.sh
. "$live_lib/postgres.sh"

live_say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

live_build() {
    # `--examples`: with the features that the tests have compiled everything with.
    (cd "$live_lib" && cargo build --locked --quiet --bins --examples)
    LIVE_TODOCTL=$("$live_lib/target-dir")/debug/todoctl
    readonly LIVE_TODOCTL
}

live_database() {
    case $1 in
    sqlite) DATABASE_URL=sqlite://$LIVE_DIR/todo.db ;;
    postgres)
        if [[ -z ${TODOCTL_TEST_POSTGRES_URL:-} ]]; then
            live_say 'TODOCTL_TEST_POSTGRES_URL is not set: run this by scripts/with-postgres'
            return 1
        fi
        local name
        name=todoctl_live_$(pg_random 8)
        pg_ensure || return
        "$PG_BIN/psql" -qX "$TODOCTL_TEST_POSTGRES_URL" \
            -c "CREATE DATABASE $name TEMPLATE template0 ENCODING 'UTF8'" || return
        LIVE_DATABASE=$name
        DATABASE_URL=${TODOCTL_TEST_POSTGRES_URL%/*}/$name
        ;;
    *)
        live_say "no such engine: $1"
        return 2
        ;;
    esac
}

live_start() {
    local try
    LIVE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/todoctl-live.XXXXXX")
    LIVE_DATABASE=
    live_database "$1" || return
    LIVE_SERVICE_TOKEN=$(pg_random 32)
    SESSION_HASH_SECRET=$(pg_random 32)
    JWT_SECRET=$(pg_random 32)
    ENCRYPTION_KEY=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n' | sed 's/../\\x&/g' | xargs -0 printf | base64 -w0 | tr '+/' '-_')
    SERVICE_AUTH_TOKEN=$LIVE_SERVICE_TOKEN
    HOST=127.0.0.1
    export DATABASE_URL SESSION_HASH_SECRET JWT_SECRET ENCRYPTION_KEY SERVICE_AUTH_TOKEN HOST
    for ((try = 0; try < 5; try++)); do
        PORT=$(pg_free_port)
        export PORT
        # From a folder without a .env.
        (cd "$LIVE_DIR" && LOG_LEVEL=warn exec "$LIVE_TODOCTL" serve) >"$LIVE_DIR/log" 2>&1 &
        LIVE_PID=$!
        LIVE_URL=http://127.0.0.1:$PORT
        if live_answers; then return 0; fi
        grep -qi 'address already in use' "$LIVE_DIR/log" || break
    done
    tail -n 20 "$LIVE_DIR/log" >&2
    return 1
}

# Waits until the daemon is ready, or has ended.
live_answers() {
    local try
    for ((try = 0; try < 300; try++)); do
        if ! kill -0 "$LIVE_PID" 2>/dev/null; then return 1; fi
        if "$LIVE_TODOCTL" health --url "$LIVE_URL" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    live_say 'the daemon does not become healthy'
    return 1
}

# What the daemon had to say that should not have been there.
live_faults() { grep -E 'ERROR|panicked' "$LIVE_DIR/log"; }

live_stop() {
    if [[ -n ${LIVE_PID:-} ]]; then
        kill -TERM "$LIVE_PID" 2>/dev/null || true
        wait "$LIVE_PID" 2>/dev/null || true
        LIVE_PID=
    fi
    if [[ -n ${LIVE_DATABASE:-} ]]; then
        "$PG_BIN/psql" -qX "$TODOCTL_TEST_POSTGRES_URL" \
            -c "DROP DATABASE IF EXISTS $LIVE_DATABASE WITH (FORCE)" >/dev/null 2>&1 || true
        LIVE_DATABASE=
    fi
    if [[ -n ${LIVE_DIR:-} ]]; then
        rm -rf "$LIVE_DIR"
        LIVE_DIR=
    fi
}
