package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// tell publishes what changed and records it. Facts go first: should the worker
// die in between, they are told twice rather than never.
func (k *keeper) tell(ctx context.Context, s site, m *memory, now []jobs.NodeRecord, good bool) error {
	if facts := changes(s, m.records, now); len(facts) > 0 {
		if err := k.state.TellFacts(ctx, s.ID, facts, nil); err != nil {
			return fmt.Errorf("tell the changes of cluster %s: %w", s.Name, err)
		}
	}
	if fact, state := newState(s, m, now, good); state != "" {
		// Nothing is told when the cluster has that state already.
		if err := k.state.TellFacts(ctx, s.ID, []jobs.Fact{fact}, &jobs.ClusterChange{State: state}); err != nil {
			return fmt.Errorf("tell the state of cluster %s: %w", s.Name, err)
		}
		m.state = state
	}
	if !worthSaving(m, now, k.now()) {
		return nil
	}
	if err := k.state.SaveNodes(ctx, s.ID, now); err != nil {
		return fmt.Errorf("save the nodes of cluster %s: %w", s.Name, err)
	}
	m.records, m.saved = byName(now), k.now()
	return nil
}

// newState is the cluster's new state, empty when it stays as it is. A part that
// is down counts at once; anything else may be over at the next look.
func newState(s site, m *memory, now []jobs.NodeRecord, good bool) (jobs.Fact, jobs.ClusterState) {
	switch {
	case good && s.State == jobs.ClusterDegraded:
		return jobs.Fact{
			Type: jobs.ClusterRecovered, Message: fmt.Sprintf("cluster %s has recovered: every part is at work", s.Name),
		}, jobs.ClusterReady
	case !good && s.State == jobs.ClusterReady && (m.odd > 1 || anyDown(now)):
		return jobs.Fact{
			Type: jobs.ClusterDegradedEv, Message: fmt.Sprintf("cluster %s is degraded: %s", s.Name, trouble(s, now)),
		}, jobs.ClusterDegraded
	}
	return jobs.Fact{}, ""
}

// changes are the facts between two looks.
func changes(s site, before map[string]jobs.NodeRecord, now []jobs.NodeRecord) []jobs.Fact {
	var facts []jobs.Fact
	var was, is string
	for _, r := range now {
		if r.Part != roleNode {
			continue
		}
		prev, known := before[r.Name]
		if known && prev.Role == "leader" {
			was = r.Name
		}
		if r.Role == "leader" && atWork(r.State) {
			is = r.Name
		}
		switch {
		case isDown(r.State) && !isDown(prev.State):
			facts = append(facts, jobs.Fact{Type: jobs.NodeDown, Node: r.Name, Message: fmt.Sprintf("%s is %s", r.Name, r.State)})
		case !isDown(r.State) && isDown(prev.State):
			facts = append(facts, jobs.Fact{
				Type: jobs.NodeJoined, Node: r.Name, Message: fmt.Sprintf("%s is back as %s", r.Name, roleWords(r.Role)),
				Details: map[string]any{"role": r.Role, "timeline": r.Timeline},
			})
		}
	}
	if was != "" && is != "" && was != is {
		facts = append(facts, jobs.Fact{
			Type: jobs.ClusterLeaderChanged, Node: is, Message: fmt.Sprintf("%s leads cluster %s now, before it was %s", is, s.Name, was),
			Details: map[string]any{"leader": is, "previous": was},
		})
	}
	return facts
}

func anyDown(records []jobs.NodeRecord) bool {
	for _, r := range records {
		if isDown(r.State) {
			return true
		}
	}
	return false
}

// trouble names what is not as it should be.
func trouble(s site, records []jobs.NodeRecord) string {
	if lines := troubles(s, records); len(lines) > 0 {
		return strings.Join(lines, "; ")
	}
	return "its parts work, the cluster does not yet"
}

// lagEvery is how often a change of nothing but a lag is saved.
const lagEvery = 30 * time.Second

// worthSaving compares with what is stored, at a time of the monotonic clock.
func worthSaving(m *memory, now []jobs.NodeRecord, at time.Time) bool {
	if len(now) != len(m.records) {
		return true
	}
	for _, r := range now {
		old := m.records[r.Name]
		lagging := r.LagBytes != old.LagBytes && at.Sub(m.saved) > lagEvery
		old.LagBytes, old.UpdatedAt = r.LagBytes, r.UpdatedAt
		if old != r || lagging {
			return true
		}
	}
	return false
}
