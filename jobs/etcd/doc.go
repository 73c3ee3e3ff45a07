// Package etcd speaks to the etcd of one cluster: it looks after its health,
// sets up its authentication and reads and takes away Patroni's leader key.
//
// A Client holds one connection per member and tries the members in turn, each
// for a bounded time. One gRPC connection over all of them would be less code,
// but every member is reached through a published port under a name of its
// own, and a member whose machine hangs would hold a call until its deadline.
// Every operation here may be repeated, so trying the next member after an
// unclear end is safe.
//
// # Taking the leader key away
//
// When a leader's container is dead, Patroni's replicas still wait until its
// lease has run out, up to ttl. RevokeLeader ends the wait: one transaction
// deletes the leader key and the dead node's member key, if and only if the
// leader key is still the one that the caller has seen. It deletes keys instead
// of revoking their lease because etcd cannot put a revocation into a
// transaction: between comparing and revoking, a node that came back could have
// taken the key again under the same lease, and lost it. The lease itself holds
// nothing any more and runs out.
//
// What etcd cannot know is whether the node is dead. While PostgreSQL there
// still accepts writes, taking its key makes a second primary, so the caller
// kills the container first.
package etcd
