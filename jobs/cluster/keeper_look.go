package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// memory is what the keeper knows of a cluster between two looks.
type memory struct {
	keys    keys
	keysAt  time.Time                  // when they were read
	records map[string]jobs.NodeRecord // as stored; nil until they were read
	saved   time.Time
	odd     int               // looks in a row that were not ideal
	state   jobs.ClusterState // what this keeper made of it, newer than the listing
	revive  map[string]*revival
	failing bool // the last look failed, which is logged once
}

// look sees how a cluster is, mends what it can, records and tells what changed,
// and says when to look again.
func (k *keeper) look(ctx context.Context, cluster jobs.Cluster, m *memory) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	m.state = cluster.State
	fine, err := k.lookOnce(ctx, cluster, m)
	if err != nil && ctx.Err() == nil {
		m.keys = nil // they may have been changed meanwhile
		if !m.failing {
			k.log.Warn().Err(err).Str("cluster", cluster.Name).Msg("cluster not kept, trying on")
		}
		m.failing = true
		return calmEvery
	}
	if err == nil {
		m.failing = false
	}
	if fine {
		return calmEvery
	}
	return troubleLook
}

func (k *keeper) lookOnce(ctx context.Context, cluster jobs.Cluster, m *memory) (fine bool, err error) {
	s, err := siteOf(cluster)
	if err != nil {
		return false, err
	}
	if err := k.remember(ctx, s, m); err != nil {
		return false, err
	}
	// The leader's own view costs a login, so it is asked when it matters: to
	// find out what is wrong, and whether it is over.
	v, err := k.see(ctx, s, m.keys, m.odd > 0 || cluster.State == jobs.ClusterDegraded)
	if err != nil {
		return false, err
	}
	now := recordsAt(v.records(s, m.records), k.wall())
	good := ideal(s, now)
	if !good || len(changes(s, m.records, now)) > 0 {
		// The listing is seconds old: an operation may have begun, which takes
		// parts away on purpose.
		fresh, err := k.state.Cluster(ctx, s.ID)
		if err != nil {
			return false, fmt.Errorf("read cluster %s: %w", s.Name, err)
		}
		s.State, m.state = fresh.State, fresh.State
		if !keepable(fresh.State) {
			return true, nil
		}
	}
	if good {
		m.odd = 0
	} else {
		m.odd++
		k.mend(ctx, s, v, m)
	}
	if good && s.State == jobs.ClusterDegraded && !k.portsAnswer(ctx, s, m.keys) {
		good = false
	}
	return good, k.tell(ctx, s, m, now, good)
}

func recordsAt(records []jobs.NodeRecord, now time.Time) []jobs.NodeRecord {
	for i := range records {
		records[i].UpdatedAt = now
	}
	return records
}

// remember reads what the state database knows: once, and the secrets from time
// to time, for a rotation changes them.
func (k *keeper) remember(ctx context.Context, s site, m *memory) (err error) {
	if m.keys == nil || k.now().Sub(m.keysAt) >= keysEvery {
		if m.keys, err = k.keysOf(ctx, s); err != nil {
			return err
		}
		m.keysAt = k.now()
		if err := k.renew(ctx, s, m.keys); err != nil {
			k.log.Warn().Err(err).Str("cluster", s.Name).Msg("certificates not renewed")
		}
	}
	if m.records != nil {
		return nil
	}
	stored, err := k.state.Nodes(ctx, s.ID)
	if err != nil {
		return fmt.Errorf("read the nodes of cluster %s: %w", s.Name, err)
	}
	m.records = byName(stored)
	return nil
}

func byName(records []jobs.NodeRecord) map[string]jobs.NodeRecord {
	out := make(map[string]jobs.NodeRecord, len(records))
	for _, r := range records {
		out[r.Name] = r
	}
	return out
}

// portsAnswer asks as a client does, before a cluster is said to have recovered.
func (k *keeper) portsAnswer(ctx context.Context, s site, secrets keys) bool {
	ports, err := k.hostPorts(ctx, s)
	if err != nil {
		return false
	}
	for _, proxy := range s.proxies() {
		primary, replica := s.purposes(proxy)
		if who, err := k.probe.answerer(ctx, s, secrets, ports[primary]); err != nil || who.replica {
			return false
		}
		if s.spec.Nodes == 1 {
			continue
		}
		if who, err := k.probe.answerer(ctx, s, secrets, ports[replica]); err != nil || !who.replica {
			return false
		}
	}
	return true
}
