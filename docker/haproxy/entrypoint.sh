#!/bin/sh
# Starts the proxy. haproxy.cfg takes the checked environment itself, so nothing
# is rendered; the certificate and its key are put in one file, as HAProxy reads them.
set -eu
. /usr/local/lib/pgforeman/entry.sh

need_number PRIMARY_PORT "${PRIMARY_PORT:-}" 1024 65535
need_number REPLICA_PORT "${REPLICA_PORT:-}" 1024 65535
need_number STATS_PORT "${STATS_PORT:-}" 1024 65535
need_number MAX_NODES "${MAX_NODES:-}" 1 99
need_name NODES_HOST "${NODES_HOST:-}"
need_dir /run/haproxy

PGFOREMAN_TLS=off
if tls; then
  PGFOREMAN_TLS=on
  cat "$SECRETS/node.pem" "$SECRETS/node.key" >/run/haproxy/node.pem
fi
PGFOREMAN_STARTED=$(date +%s%3N)
export PGFOREMAN_TLS PGFOREMAN_STARTED

haproxy -c -q -f /etc/haproxy/haproxy.cfg || die "the configuration is refused by haproxy -c (above)"
exec haproxy -db -f /etc/haproxy/haproxy.cfg
