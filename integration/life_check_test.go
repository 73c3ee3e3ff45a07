package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// What is looked at, from outside, when a life has come to rest.
const (
	lawEnds    = "everything ends"
	lawFate    = "every request has exactly one fate, the right one"
	lawOrder   = "events: gapless seq, in order, percent never falls"
	lawOnce    = "every event is published once"
	lawSteps   = "a completed step never runs again"
	lawStates  = "all operations, steps and messages are finished"
	lawDocker  = "no container, volume or network is left"
	lawRows    = "no secret, port, node, outbox row is left"
	lawDead    = "dead letters: one for each unreadable message"
	lawAudit   = "the audit has each acceptance and each end once"
	lawWorkers = "the worker ends only by its failure point or SIGTERM"
)

// reaped is what a worker logs when it has removed what an operation had left.
const reaped = "leftovers of a deleted cluster removed"

// verdicts are what the checks of one pass found.
type verdicts struct {
	checked  map[string]int
	violated map[string]string // the first violation of each
}

func (v *verdicts) check(law string, ok bool, format string, args ...any) {
	v.checked[law]++
	if _, had := v.violated[law]; !ok && !had {
		v.violated[law] = fmt.Sprintf(format, args...)
	}
}

// checkAll checks a life's end.
func checkAll(m *mortal, l life) *verdicts {
	m.t.Helper()
	v := &verdicts{checked: map[string]int{}, violated: map[string]string{}}
	v.check(lawEnds, true, "") // a life that does not end does not come here
	m.rest(v)
	for id, fate := range l.fates {
		m.checkFate(v, id, fate)
		m.checkEvents(v, id)
	}
	m.checkRows(v, l)
	m.checkMessages(v)
	left := leftovers(m.t, "io.pgforeman.instance="+m.instance)
	v.check(lawDocker, left == "", "left: %s", left)
	// Nor was it the reaper who removed it: no worker slept here, so the operation
	// itself has to find everything.
	late := ""
	for line := range strings.Lines(m.log()) {
		if strings.Contains(line, reaped) {
			late = line
		}
	}
	v.check(lawDocker, late == "", "removed by the reaper, not by the operation: %s", late)
	return v
}

// rest waits for what follows the last event: the outbox, what the Engine still
// removes, the last ack.
func (m *mortal) rest(v *verdicts) {
	m.t.Helper()
	deadline := time.Now().Add(time.Minute)
	m.eventually(2*time.Minute, "rest", func() error {
		waiting := 0
		m.db.Scan(m.t, "SELECT count(*) FROM outbox", &waiting)
		pending, err := m.pending()
		if time.Now().After(deadline) {
			return nil // the checks say what it is
		}
		if err != nil || waiting+pending > 0 {
			return fmt.Errorf("%d events, %d requests, %w", waiting, pending, err)
		}
		if left := leftovers(m.t, "io.pgforeman.instance="+m.instance); left != "" {
			return errors.New(left)
		}
		return nil
	})
	m.stop()
	v.check(lawWorkers, true, "") // live and stop fail the test otherwise
}

// pending is how many requests are not acked.
func (m *mortal) pending() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := m.po.js.Consumer(ctx, jobs.StreamRequests, jobs.ConsumerIntake)
	if err != nil {
		return 0, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.NumAckPending + int(info.NumPending), nil
}

// checkFate compares a request's rows and its last event with what must be.
func (m *mortal) checkFate(v *verdicts, id string, fate jobs.EventType) {
	m.t.Helper()
	operations, rejections := 0, 0
	m.db.Scan(m.t, "SELECT count(*) FROM operations WHERE request_id = '"+id+"'", &operations)
	m.db.Scan(m.t, "SELECT count(*) FROM rejections WHERE request_id = '"+id+"'", &rejections)
	v.check(lawFate, operations+rejections == 1, "%s is %d operations and %d rejections", id, operations, rejections)
	var ends []string
	seen := map[string]bool{}
	for _, e := range m.po.told(id) {
		if isEnd(e) && !seen[e.ID] {
			ends = append(ends, e.Type)
		}
		seen[e.ID] = true
	}
	v.check(lawFate, len(ends) == 1 && ends[0] == jobs.EventTypeName(fate), "%s ended as %v, not as %s", id, ends, fate)
}

// checkEvents goes through a request's events in the order of the stream.
func (m *mortal) checkEvents(v *verdicts, id string) {
	var seq int64
	percent := 0
	seen, ended := map[string]bool{}, map[string]bool{}
	for _, e := range m.po.told(id) {
		v.check(lawOnce, !seen[e.ID], "%s of %s is twice in the stream", e.Type, id)
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		seq++
		v.check(lawOrder, e.Data.Seq == seq && e.Data.Percent >= percent || e.Type == jobs.EventTypeName(jobs.OperationRejected),
			"%s of %s has seq %d and %d %%, after seq %d and %d %%", e.Type, id, e.Data.Seq, e.Data.Percent, seq-1, percent)
		percent = e.Data.Percent
		if e.Data.Step == nil {
			continue
		}
		step := fmt.Sprint(e.Data.Step.Name, " ", e.Data.Step.Node, " ", e.Data.Step.Undo)
		v.check(lawSteps, !ended[step], "%s of %s after it had succeeded", e.Type, step)
		if e.Type == jobs.EventTypeName(jobs.StepSucceededEv) {
			ended[step] = true
		}
	}
	v.check(lawOrder, seq > 0, "no event of %s", id)
}

// checkRows looks into the state database.
func (m *mortal) checkRows(v *verdicts, l life) {
	m.t.Helper()
	for _, q := range []struct {
		law, what, sql string
		want           int
	}{
		{lawStates, "unfinished operations", "SELECT count(*) FROM operations WHERE finished_at IS NULL", 0},
		{lawStates, "unfinished steps", "SELECT count(*) FROM steps WHERE state IN ('pending', 'ready', 'running')", 0},
		{lawStates, "clusters not deleted", "SELECT count(*) FROM clusters WHERE state <> 'deleted'", 0},
		{lawStates, "clusters", "SELECT count(*) FROM clusters", 1},
		{lawRows, "secrets", "SELECT count(*) FROM secrets", 0},
		{lawRows, "ports", "SELECT count(*) FROM ports", 0},
		{lawRows, "nodes", "SELECT count(*) FROM nodes", 0},
		{lawRows, "events not published", "SELECT count(*) FROM outbox", 0},
		{lawRows, "duties held", "SELECT count(*) FROM duties WHERE lease_until > now()", 0},
		{lawDead, "dead letters", "SELECT count(*) FROM dead_letters", l.dead},
		{lawAudit, "operations without their end in the audit",
			"SELECT count(*) FROM operations o WHERE (SELECT count(*) FROM audit a WHERE a.operation_id = o.id::text AND a.outcome = o.state) <> 1", 0},
		{lawAudit, "operations without their acceptance in the audit",
			"SELECT count(*) FROM operations o WHERE (SELECT count(*) FROM audit a WHERE a.operation_id = o.id::text AND a.outcome = 'accepted') <> 1", 0},
		{lawAudit, "rejections without a row in the audit",
			"SELECT count(*) FROM rejections r WHERE (SELECT count(*) FROM audit a WHERE a.request_id = r.request_id AND a.outcome = 'rejected') <> 1", 0},
	} {
		n := 0
		m.db.Scan(m.t, q.sql, &n)
		v.check(q.law, n == q.want, "%d %s, not %d", n, q.what, q.want)
	}
}

// checkMessages looks into JetStream.
func (m *mortal) checkMessages(v *verdicts) {
	m.t.Helper()
	pending, err := m.pending()
	v.check(lawStates, err == nil && pending == 0, "%d requests not acked (%v)", pending, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := m.po.js.Stream(ctx, jobs.StreamDead)
	rows := 0
	m.db.Scan(m.t, "SELECT count(*) FROM dead_letters", &rows)
	v.check(lawDead, err == nil && s.CachedInfo().State.Msgs == uint64(rows), "%d dead letters in the state, others in the stream (%v)", rows, err)
}
