#!/bin/sh
# Healthy while Patroni's heartbeat loop runs; what PostgreSQL does is Patroni's business.
set -eu
secrets=/opt/secretpg
if [ -e "$secrets/ca.pem" ]; then
  exec curl -fsS -o /dev/null --max-time 4 --cacert "$secrets/ca.pem" \
    --cert "$secrets/node.pem" --key "$secrets/node.key" https://localhost:8008/liveness
fi
exec curl -fsS -o /dev/null --max-time 4 http://localhost:8008/liveness
