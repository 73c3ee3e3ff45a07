#!/bin/sh
# Starts one etcd member. The environment and the volumes are described in
# docker/README.md.
set -eu
. /usr/local/lib/pgforeman/entry.sh

need_name ETCD_NAME "${ETCD_NAME:-}"
need_dir /data/etcd
name=$ETCD_NAME
# etcd takes ETCD_* for flags and refuses to start when a flag is given twice.
unset ETCD_NAME

if tls; then
  scheme=https
  set -- \
    --cert-file="$SECRETS/node.pem" --key-file="$SECRETS/node.key" \
    --peer-cert-file="$SECRETS/node.pem" --peer-key-file="$SECRETS/node.key" \
    --peer-trusted-ca-file="$SECRETS/ca.pem" --peer-client-cert-auth \
    --tls-min-version=TLS1.2
else
  scheme=http
  set --
fi

# A write-ahead log (its folder appears under this name only when it is complete)
# makes this a restart: the member knows its cluster. Without one, starting
# without INITIAL_CLUSTER would quietly found a cluster of one.
if ! ls /data/etcd/member/wal/*.wal >/dev/null 2>&1; then
  need_chars INITIAL_CLUSTER "${INITIAL_CLUSTER:-}" 'A-Za-z0-9._:/=,-' 'etcd-1=https://etcd-1:2380'
  need_chars INITIAL_CLUSTER_TOKEN "${INITIAL_CLUSTER_TOKEN:-}" 'A-Za-z0-9._-' 'a name of letters, digits and dashes'
  case ${INITIAL_CLUSTER_STATE:=new} in
    new | existing) ;;
    *) die "INITIAL_CLUSTER_STATE is neither new nor existing" ;;
  esac
  set -- "$@" --initial-cluster="$INITIAL_CLUSTER" \
    --initial-cluster-token="$INITIAL_CLUSTER_TOKEN" --initial-cluster-state="$INITIAL_CLUSTER_STATE"
fi

# bcrypt-cost: the passwords are random (128 bits and more), a higher cost would
# only slow down each client's start. snapshot-count: the default of 100,000
# keeps that many entries in memory.
exec etcd --name="$name" --data-dir=/data/etcd \
  --listen-client-urls="$scheme://0.0.0.0:2379" --advertise-client-urls="$scheme://$name:2379" \
  --listen-peer-urls="$scheme://0.0.0.0:2380" --initial-advertise-peer-urls="$scheme://$name:2380" \
  --listen-metrics-urls=http://127.0.0.1:2381 \
  --auto-compaction-mode=periodic --auto-compaction-retention=1h \
  --quota-backend-bytes=536870912 --snapshot-count=10000 --bcrypt-cost=8 \
  "$@"
