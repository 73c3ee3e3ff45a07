// Package cluster is the catalogue: what pgforeman can do to a cluster, as
// kinds made of stages of steps, and the chores that keep a cluster as it is
// meant to be.
//
// # Shape
//
// A cluster is nodes (Patroni and PostgreSQL), etcd members that hold their
// leader lock, and proxies (HAProxy). Each is one container with volumes of its
// own for data and for secrets, on the cluster's private network. names.go
// derives every name, label and port; parts.go gives the specification of every
// container. Both are pure.
//
// A file kind_*.go is a kind: its plan is a table of contents. A file step_*.go
// is a step: it observes, compares, acts, confirms, and can be run again at any
// point of its run. What a step makes, its Undo removes.
//
// # What the steps lean on
//
// Three interfaces, declared in deps.go and probe.go: Engine (the Docker
// Engine), State (what is kept of a cluster) and probe (what etcd, Patroni and
// PostgreSQL answer). The worker reaches a part through its port published on
// the loopback address, which changes when a container restarts, so the Engine
// is asked each time; TLS holds the part to its own name.
//
// # Keeping
//
// The keeper, run by the one worker that holds the foreman duty, watches the
// Engine's events and looks at every cluster from time to time. When a leader's
// container is dead it takes the leader key from it at once, so that a replica
// takes over in about a second instead of after the lease's end; it starts what
// has died, asks for new certificates before they end, and tells what changed. It touches only clusters that no operation
// is making or deleting. The reaper removes what a worker that was suspended
// for too long made for a cluster that has been deleted since.
package cluster
