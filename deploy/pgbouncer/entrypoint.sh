#!/bin/sh
# Writes PgBouncer's two files from DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD and
# POOL_SIZE, then runs it.
set -eu
umask 077
folder=/run/pgbouncer

quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/"/""/g')"; }
printf '%s %s\n' "$(quoted "$DB_USER")" "$(quoted "$DB_PASSWORD")" >"$folder/users.txt"

cat >"$folder/pgbouncer.ini" <<CONF
[databases]
$DB_NAME = host=$DB_HOST port=${DB_PORT:-5432} dbname=$DB_NAME

[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $folder/users.txt
pool_mode = transaction
default_pool_size = ${POOL_SIZE:-20}
max_client_conn = 1000
query_wait_timeout = 15
CONF
exec pgbouncer "$folder/pgbouncer.ini"
