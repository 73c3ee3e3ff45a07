#!/usr/bin/env bash
# make demo: starts pgforeman in the background, creates a cluster of three
# nodes, writes and reads through it and tells how to go on. Every part looks
# first whether it is done, so a second run continues where the first one ended.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly pgforeman=bin/pgforeman cluster=demo state=.pgforeman

say() { printf '\n==> %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# until_done SECONDS COMMAND…: again until it succeeds; its last output is told
# when it never does.
until_done() {
    local deadline=$((SECONDS + $1)) output
    shift
    until output=$("$@" 2>&1); do
        [ $SECONDS -lt $deadline ] || die "still not done: $*: $output"
        sleep 0.5
    done
    printf '%s\n' "$output"
}

# field NAME: the first string of that name in the JSON on standard input.
field() {
    tr -d '\n' | grep -o "\"$1\" *: *\"[^\"]*\"" | head -n 1 | sed 's/^.*: *"\(.*\)"$/\1/'
}

answers() { "$pgforeman" cluster list >/dev/null 2>&1; }

start_pgforeman() {
    if answers; then
        say "pgforeman is running"
        return
    fi
    say "starting pgforeman in the background (log: $state/dev.log)"
    (umask 077 && mkdir -p "$state")
    nohup setsid "$pgforeman" dev >>"$state/dev.log" 2>&1 </dev/null &
    local pid=$! deadline=$((SECONDS + 300))
    until answers; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$state/dev.log" >&2
            die "pgforeman ended before it was ready; its last words are above"
        fi
        [ $SECONDS -lt $deadline ] || die "pgforeman is not ready after 300 s; see $state/dev.log, and try: $pgforeman doctor"
        sleep 0.5
    done
}

create_cluster() {
    local found code=0 operation
    found=$("$pgforeman" cluster show "$cluster" -o json 2>/dev/null) || code=$?
    case $code in
    0) ;;
    3)
        say "creating the cluster $cluster: 3 nodes, 3 etcd members, 1 proxy"
        "$pgforeman" cluster create "$cluster" --nodes 3 --wait
        return
        ;;
    *) die "cannot ask for the cluster: $("$pgforeman" cluster show "$cluster" 2>&1 || true)" ;;
    esac
    operation=$(field operation <<<"$found" || true)
    if [ -n "$operation" ]; then
        say "the cluster $cluster is being worked on"
        "$pgforeman" operation watch "$operation"
    elif [ "$(field state <<<"$found")" = failed ]; then
        "$pgforeman" dead list
        die "an earlier creation of $cluster failed (above); replay it: $pgforeman dead replay ID, or begin anew: $pgforeman cluster delete $cluster"
    else
        say "the cluster $cluster is there"
    fi
}

# container ROLE: the name of one running container of the cluster.
container() {
    local filters=(--filter "label=io.pgforeman.cluster=$cluster" --filter "label=io.pgforeman.role=$1")
    if [ -s "$state/instance" ]; then
        filters+=(--filter "label=io.pgforeman.instance=$(<"$state/instance")")
    fi
    docker ps "${filters[@]}" --format '{{.Names}}' | LC_ALL=C sort | head -n 1
}

# sql PORT-IN-CLUSTER HOST:PORT SQL: runs it as the application. A host without
# psql borrows a node's, which reaches the proxy by its name. The password goes
# by the environment: an argument list can be read by everybody.
sql() {
    local where
    if command -v psql >/dev/null; then
        where="host=${2%:*} port=${2##*:} sslmode=verify-full sslrootcert=$state/$cluster-ca.pem"
        PGPASSWORD=$password psql "$where user=$username dbname=$database" -X -q -At -v ON_ERROR_STOP=1 -c "$3"
    else
        where="host=$(container proxy) port=$1 sslmode=require"
        PGPASSWORD=$password docker exec -i -e PGPASSWORD "$(container node)" \
            psql "$where user=$username dbname=$database" -X -q -At -v ON_ERROR_STOP=1 -c "$3"
    fi
}

seen_on_replica() {
    [ "$(sql 5001 "$replica" "SELECT count(*) FROM demo WHERE id = $1")" = 1 ] || { echo "row $1 is not on a replica yet"; return 1; }
}

use_cluster() {
    local shown credentials id
    shown=$("$pgforeman" cluster show "$cluster" -o json)
    credentials=$("$pgforeman" cluster credentials "$cluster" -o json)
    "$pgforeman" cluster credentials "$cluster" --ca >"$state/$cluster-ca.pem"
    primary=$(field primary <<<"$shown")
    replica=$(field replica <<<"$shown")
    username=$(field username <<<"$credentials")
    database=$(field database <<<"$credentials")
    password=$(field password <<<"$credentials")

    say "a row is written at $primary (the primary) and read at $replica (a replica)"
    until_done 60 sql 5000 "$primary" "SET client_min_messages = warning;
        CREATE TABLE IF NOT EXISTS demo (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
    id=$(sql 5000 "$primary" "INSERT INTO demo DEFAULT VALUES RETURNING id")
    until_done 60 seen_on_replica "$id" >/dev/null
    sql 5001 "$replica" "SELECT 'row ' || id || ' of ' || at || ', read where pg_is_in_recovery() is ' || pg_is_in_recovery() FROM demo WHERE id = $id"
}

tell() {
    local node
    node=$(container node)
    say "what Patroni says (docker exec $node patronictl -c /etc/patroni/patroni.yml list)"
    docker exec "$node" patronictl -c /etc/patroni/patroni.yml list
    say "what pgforeman says ($pgforeman cluster show $cluster)"
    "$pgforeman" cluster show "$cluster"
    cat <<EOF

==> go on
  export PGPASSWORD=\$($pgforeman cluster credentials $cluster -o json | sed -n 's/.*"password": *"\([^"]*\)".*/\1/p')
  psql "host=${primary%:*} port=${primary##*:} user=$username dbname=$database sslmode=verify-full sslrootcert=$state/$cluster-ca.pem"    # the primary
  psql "host=${replica%:*} port=${replica##*:} user=$username dbname=$database sslmode=verify-full sslrootcert=$state/$cluster-ca.pem"    # the replicas
  $pgforeman cluster status $cluster        # look at every part of it
  docker kill \$(docker ps -q --filter label=io.pgforeman.cluster=$cluster --filter label=io.pgforeman.role=node | head -1)
                                     # or take one away, and look again

==> stop
  $pgforeman cluster delete $cluster        # remove the cluster and its data
  $pgforeman dev stop                   # stop pgforeman; clusters keep running
  $pgforeman dev down                   # remove everything that this demo made
EOF
}

[ -x "$pgforeman" ] || die "$pgforeman is not there; run: make demo"
start_pgforeman
create_cluster
use_cluster
tell
