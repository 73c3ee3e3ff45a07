package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// The keeper's pace. Events make it look at once; looking without one is for
// what has no event, such as a replica that fell behind.
const (
	listEvery   = 5 * time.Second // the state database is asked for clusters
	calmEvery   = 6 * time.Second // a cluster without trouble is looked at
	troubleLook = time.Second     // one with trouble
	keeperTick  = 250 * time.Millisecond
	// lookers is how many clusters are looked at together.
	lookers = 4
	// lookTimeout bounds a look, repairs and all.
	lookTimeout = 20 * time.Second
)

// Keeper keeps this instance's clusters at work until ctx ends: it takes the
// leader key from a leader whose container died, starts containers that died,
// and tells what changed. At most one keeper runs at a time, in the worker that
// holds the foreman duty; two of them would only tell things twice.
func (c *Catalogue) Keeper(ctx context.Context) error {
	k := &keeper{Catalogue: c, wards: map[string]*ward{}, looked: make(chan looked)}
	events := c.engine.Watch(ctx, docker.Labels{})
	defer k.running.Wait()
	tick := time.NewTicker(keeperTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, open := <-events:
			if !open {
				events = nil // the context has ended, or soon will have
				continue
			}
			k.heard(ctx, e)
		case l := <-k.looked:
			k.finish(l)
		case <-tick.C:
			k.list(ctx)
			k.lookAround(ctx)
		}
	}
}

// keeper is the state of one run of Keeper. Its own goroutine alone touches it.
type keeper struct {
	*Catalogue
	wards   map[string]*ward // by cluster id
	listed  time.Time
	failing bool // the last listing failed
	busy    int  // wards being looked at
	looked  chan looked
	running sync.WaitGroup
}

// ward is a cluster in the keeper's care.
type ward struct {
	cluster jobs.Cluster // changed only while the ward is not busy
	busy    bool
	next    time.Time // when it is looked at again
	rushed  bool      // an event came while it was busy

	// memory belongs to the goroutine that looks at the ward.
	memory
}

// looked says that a ward has been looked at, and when it wants to be again.
type looked struct {
	ward  *ward
	pause time.Duration
}

// heard reacts to an event: the death of a node at once, since clients wait for
// another leader, everything else by looking.
func (k *keeper) heard(ctx context.Context, e docker.Event) {
	if e.Type == docker.EventResync {
		for _, w := range k.wards {
			w.hurry(k.now())
		}
		return
	}
	id := e.Labels[docker.LabelClusterID]
	if id == "" {
		return
	}
	if e.Type == docker.EventDie && e.Labels[docker.LabelRole] == roleNode {
		k.running.Go(func() { k.nodeDied(ctx, id, e.Labels[docker.LabelNode]) })
	}
	if w, ok := k.wards[id]; ok && e.Type != docker.EventHealth {
		w.hurry(k.now())
	}
}

func (w *ward) hurry(now time.Time) {
	if w.busy {
		w.rushed = true
		return
	}
	w.next = now
}

// nodeDied takes the leader key from a node that died. It asks the state
// database itself: a cluster that is just being deleted is left alone.
func (k *keeper) nodeDied(ctx context.Context, clusterID, node string) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	cluster, err := k.state.Cluster(ctx, clusterID)
	if err != nil || !keepable(cluster.State) {
		return
	}
	s, err := siteOf(cluster)
	if err != nil {
		return
	}
	secrets, err := k.keysOf(ctx, s)
	if err == nil {
		err = k.revokeDead(ctx, s, secrets, node)
	}
	if err != nil {
		k.log.Warn().Err(err).Str("cluster", s.Name).Str("node", node).Msg("leader key not taken from dead node")
	}
}

// list asks the state database for the clusters to keep.
func (k *keeper) list(ctx context.Context) {
	if k.now().Sub(k.listed) < listEvery {
		return
	}
	k.listed = k.now()
	short, cancel := context.WithTimeout(ctx, listEvery)
	defer cancel()
	clusters, err := k.state.LiveClusters(short)
	if err != nil {
		if !k.failing && ctx.Err() == nil {
			k.log.Warn().Err(err).Msg("clusters not listed")
		}
		k.failing = true
		return
	}
	k.failing = false
	live := map[string]bool{}
	for _, cluster := range clusters {
		live[cluster.ID] = true
		w, ok := k.wards[cluster.ID]
		if !ok {
			w = &ward{memory: memory{revive: map[string]*revival{}}}
			k.wards[cluster.ID] = w
		}
		if !w.busy {
			w.cluster = cluster
		}
	}
	for id, w := range k.wards {
		if !live[id] && !w.busy {
			delete(k.wards, id)
		}
	}
}

// lookAround begins to look at the clusters whose time has come.
func (k *keeper) lookAround(ctx context.Context) {
	for _, w := range k.wards {
		if k.busy >= lookers {
			return
		}
		if w.busy || !keepable(w.cluster.State) || k.now().Before(w.next) {
			continue
		}
		w.busy, w.rushed = true, false
		k.busy++
		k.running.Go(func() {
			pause := k.look(ctx, w.cluster, &w.memory)
			select {
			case k.looked <- looked{w, pause}:
			case <-ctx.Done():
			}
		})
	}
}

func (k *keeper) finish(l looked) {
	k.busy--
	l.ward.busy = false
	l.ward.cluster.State = l.ward.state
	l.ward.next = k.now().Add(l.pause)
	if l.ward.rushed {
		l.ward.next = k.now()
	}
}

// keepable says that no operation is making or deleting the cluster.
func keepable(s jobs.ClusterState) bool {
	return s == jobs.ClusterReady || s == jobs.ClusterDegraded
}
