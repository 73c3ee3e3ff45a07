package cluster

import (
	"context"

	"github.com/vcs-iaas/pgforeman/jobs/etcd"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// probe is what the parts of a cluster are asked, and the little they are told,
// over their own protocols. Errors are those of jobs/etcd, jobs/patroni and
// jobs/postgres, or docker.ErrNotFound; nearly all mean "not yet".
type probe interface {
	// etcdHealth asks one member, and through it the quorum.
	etcdHealth(ctx context.Context, s site, k keys, member string) (etcd.MemberHealth, error)
	// etcdAuth makes etcd's users and switches authentication on.
	etcdAuth(ctx context.Context, s site, k keys) error
	// leader reads Patroni's leader key.
	leader(ctx context.Context, s site, k keys) (etcd.Leader, error)
	// revoke takes the leader key from a node that is dead.
	revoke(ctx context.Context, s site, k keys, seen etcd.Leader) (bool, error)

	// status asks one node's Patroni about itself.
	status(ctx context.Context, s site, k keys, node string) (patroni.Status, error)
	// isPrimary asks it whether it leads and holds the key.
	isPrimary(ctx context.Context, s site, k keys, node string) (bool, error)
	// members asks it about all nodes.
	members(ctx context.Context, s site, k keys, node string) (patroni.Cluster, error)
	// settle gives Patroni its everyday pace.
	settle(ctx context.Context, s site, k keys, node string) error

	// install gives a part that runs its certificate in k and lets it take it
	// over, without a restart. served are the serial numbers of the certificates
	// that the part works with now: at each of its doors, and as a client.
	install(ctx context.Context, s site, k keys, p part) error
	served(ctx context.Context, s site, k keys, p part) ([]string, error)

	// replication is the leader's pg_stat_replication.
	replication(ctx context.Context, s site, k keys, leader string) ([]postgres.Standby, error)
	// receiver is a replica's pg_stat_wal_receiver.
	receiver(ctx context.Context, s site, k keys, node string) (postgres.WALReceiver, error)
	// basebackups is the leader's pg_stat_progress_basebackup.
	basebackups(ctx context.Context, s site, k keys, leader string) ([]postgres.Basebackup, error)
	// databases makes the users and databases of the specification.
	databases(ctx context.Context, s site, k keys, leader string) error

	// answerer says who answers at a published port.
	answerer(ctx context.Context, s site, k keys, port int) (answer, error)
	// write leaves a token at a published port.
	write(ctx context.Context, s site, k keys, port int, token string) error
	// read says who answers there and whether the token has arrived.
	read(ctx context.Context, s site, k keys, port int, token string) (answer, bool, error)
}

// answer is who answered at a published port.
type answer struct {
	// slot is a replica's replication slot: it tells replicas apart.
	slot string
	// replica says that it is in recovery.
	replica bool
}
