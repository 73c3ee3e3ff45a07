#!/bin/sh
# Starts one node: Patroni, which starts PostgreSQL. The environment, the files
# and the volumes are described in README.md.
set -eu
. /usr/local/lib/pgforeman/entry.sh

need_name SCOPE "${SCOPE:-}"
need_name PATRONI_NAME "${PATRONI_NAME:-}"
need_chars NAMESPACE "${NAMESPACE:-}" 'A-Za-z0-9._/-' '/pgforeman/'
need_chars ETCD_HOSTS "${ETCD_HOSTS:-}" 'A-Za-z0-9._:,-' 'etcd-1:2379,etcd-2:2379'
need_chars PGDATA "${PGDATA:-}" 'A-Za-z0-9._/-' '/data/patroni'
case ${CLONEFROM:-} in
  true | false) ;;
  *) die "CLONEFROM is neither true nor false" ;;
esac
if [ -n "${ETCD_USERNAME:-}" ]; then
  need_name ETCD_USERNAME "${ETCD_USERNAME:-}"
fi
need_dir "$(dirname "$PGDATA")"
need_dir /run/patroni
need_dir /run/postgresql
chmod 0755 /run/postgresql

PGFOREMAN_TLS=off
scheme=http
if tls; then
  PGFOREMAN_TLS=on
  scheme=https
fi
# PostgreSQL's clients find the passwords of replication here.
PGPASSFILE=$SECRETS/pgpass
[ -w "$SECRETS" ] || PGPASSFILE=/run/patroni/pgpass
export PGFOREMAN_TLS PGPASSFILE
python3 -I /usr/local/lib/pgforeman/render.py || exit 64

# Patroni, started before etcd has a leader, sleeps for ten seconds at a time: wait
# here, until one member answers for the cluster.
etcd_ready() {
  for host in $(printf %s "$ETCD_HOSTS" | tr , ' '); do
    set -- -fsS -o /dev/null --max-time 2 "$scheme://$host/health"
    [ "$PGFOREMAN_TLS" = off ] || set -- "$@" --cacert "$SECRETS/ca.pem"
    last=$(curl "$@" 2>&1) && return 0
  done
  return 1
}
waited=0
until etcd_ready; do
  [ "$waited" -lt 300 ] || die "no etcd member of $ETCD_HOSTS is healthy after a minute, the last one says: $last"
  waited=$((waited + 1))
  sleep 0.2
done

exec patroni /etc/patroni/patroni.yml
