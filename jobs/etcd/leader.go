package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Leader is Patroni's leader key: which node holds it, and since when.
type Leader struct {
	// Node is the Patroni name of the holder.
	Node string
	// LeaseID is the lease of that node's Patroni; the key dies with it.
	LeaseID int64
	// Revision is the etcd revision at which the key was written. It changes
	// with every change of the holder and stays while the holder renews.
	Revision int64
}

// Keys are laid out by Patroni as /<namespace>/<scope>/<key> (patroni/dcs:
// AbstractDCS.client_path and __init__, which strips the namespace's slashes).
func key(namespace, scope, name string) string {
	return Prefix(namespace, scope) + name
}

// Prefix is the prefix of all keys of a Patroni cluster, with slashes at both ends.
func Prefix(namespace, scope string) string {
	return "/" + strings.Trim(namespace, "/") + "/" + scope + "/"
}

// Leader reads the leader key. Errors: ErrNoLeader, ErrUnavailable, ErrAuth.
func (c *Client) Leader(ctx context.Context, namespace, scope string) (Leader, error) {
	var leader Leader
	err := c.do(ctx, "read leader of "+scope, func(ctx context.Context, cl *clientv3.Client) error {
		got, err := cl.Get(ctx, key(namespace, scope, "leader"))
		if err != nil {
			return err
		}
		if len(got.Kvs) == 0 {
			return ErrNoLeader
		}
		leader = leaderOf(got.Kvs[0])
		return nil
	})
	return leader, err
}

func leaderOf(kv *mvccpb.KeyValue) Leader {
	return Leader{Node: string(kv.Value), LeaseID: kv.Lease, Revision: kv.ModRevision}
}

// RevokeLeader takes the leader key from seen.Node, so that the replicas elect a
// new leader at once instead of waiting for the lease to run out. It does
// nothing and returns false when the key is gone or was written again since seen
// was read (a zero seen.Revision compares the node's name alone), or when a try
// of this very call did it and the answer was lost on the way. The node's
// member key goes with it: candidates ask every member for its WAL position and
// would wait for the dead one.
//
// Kill the node first; the package comment says why. Errors: ErrUnavailable
// (the key may or may not be gone: call again), ErrAuth.
func (c *Client) RevokeLeader(ctx context.Context, namespace, scope string, seen Leader) (bool, error) {
	if seen.Node == "" {
		return false, errors.New("revoke leader: no node given")
	}
	leaderKey := key(namespace, scope, "leader")
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.Value(leaderKey), "=", seen.Node)}
	if seen.Revision != 0 {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(leaderKey), "=", seen.Revision))
	}
	var revoked bool
	err := c.do(ctx, fmt.Sprintf("revoke leader %s of %s", seen.Node, scope), func(ctx context.Context, cl *clientv3.Client) error {
		got, err := cl.Txn(ctx).If(conditions...).Then(
			clientv3.OpDelete(leaderKey),
			clientv3.OpDelete(key(namespace, scope, "members/"+seen.Node)),
		).Commit()
		if err == nil {
			revoked = got.Succeeded
		}
		return err
	})
	return revoked, err
}

// WatchLeader calls changed with the present leader and again whenever the key
// is written or deleted (then with a zero Leader), until ctx ends or the
// connection breaks; the caller calls again. It never returns nil. Errors:
// ctx's, ErrUnavailable, ErrAuth.
func (c *Client) WatchLeader(ctx context.Context, namespace, scope string, changed func(Leader)) error {
	leaderKey := key(namespace, scope, "leader")
	var now Leader
	var from int64
	var conn *clientv3.Client
	err := c.do(ctx, "watch leader of "+scope, func(ctx context.Context, cl *clientv3.Client) error {
		got, err := cl.Get(ctx, leaderKey)
		if err != nil {
			return err
		}
		now, from, conn = Leader{}, got.Header.Revision+1, cl
		if len(got.Kvs) > 0 {
			now = leaderOf(got.Kvs[0])
		}
		return nil
	})
	if err != nil {
		return err
	}
	changed(now)
	// Without a deadline of its own, but a member that loses quorum ends it.
	watchCtx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for answer := range conn.Watch(watchCtx, leaderKey, clientv3.WithRev(from)) {
		if err := answer.Err(); err != nil {
			return fmt.Errorf("watch leader of %s: %w", scope, translate(ctx, err))
		}
		for _, event := range answer.Events {
			if event.Type == clientv3.EventTypeDelete {
				changed(Leader{})
				continue
			}
			changed(leaderOf(event.Kv))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("watch leader of %s: %w", scope, context.Cause(ctx))
	}
	return fmt.Errorf("watch leader of %s: %w: the watch ended", scope, ErrUnavailable)
}
