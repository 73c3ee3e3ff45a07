package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// openWire is a portal that hears the events as they are published, stream or
// not: one that reads the stream would lose what is deleted with it.
func openWire(t *testing.T, p *program, tenant string) *portal {
	t.Helper()
	po := &portal{t: t, nc: p.connect(), tenant: tenant}
	js, err := jetstream.New(po.nc)
	require.NoError(t, err)
	po.js = js
	seen := map[string]bool{}
	_, err = po.nc.Subscribe("pgforeman.v1.event."+tenant+".>", func(m *nats.Msg) {
		var e jobs.Event
		if err := json.Unmarshal(m.Data, &e); err != nil {
			t.Errorf("event on %s is not JSON: %v\n%s", m.Subject, err, m.Data)
			return
		}
		po.mu.Lock()
		defer po.mu.Unlock()
		if !seen[e.ID] { // what no stream took is published again
			seen[e.ID] = true
			po.events = append(po.events, e)
		}
	})
	require.NoError(t, err)
	require.NoError(t, po.nc.Flush())
	return po
}

// TestStreamsDeleted deletes each stream under a worker that is creating a
// cluster. Each is made again by the worker, with the intake's consumer; what
// waited to be published is published into it, and the creation ends as if
// nothing had happened.
func TestStreamsDeleted(t *testing.T) {
	s := newSite(t)
	w := s.worker("streams")
	po := openWire(t, s.program, "acme")
	po.publish("create", jobs.ClusterCreate, "orders", map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	eventually(t, 3*time.Minute, "the creation to be under way", func() error {
		if len(s.containers("orders", "")) == 0 {
			return fmt.Errorf("no container of the cluster yet")
		}
		return nil
	})
	logged := len(w.log())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, stream := range []string{jobs.StreamEvents, jobs.StreamRequests, jobs.StreamDead} {
		require.NoError(t, po.js.DeleteStream(ctx, stream))
		began := time.Now()
		eventually(t, time.Minute, stream+" to be there again", func() error {
			_, err := po.js.Stream(ctx, stream)
			return err
		})
		t.Logf("%s is there again after %.1f s", stream, time.Since(began).Seconds())
	}
	po.await("create", 5*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	po.publish("delete", jobs.ClusterDelete, "orders", map[string]any{})
	gone := po.await("delete", 3*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationRejected)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), gone.Type, "%+v", gone.Data.Error)
	for _, id := range []string{"create", "delete"} {
		po.checkOrder(id)
	}
	require.Equal(t, jobs.EventTypeName(jobs.OperationSucceededEv), lastOperationEvent(po.told("create")))
	require.Empty(t, leftoversOf(t, s.program, "orders"))
	s.quiet()
	s.storedToTheEnd(t, ctx, po, "create")
	require.True(t, w.running(), "the worker stays up")
	require.NoError(t, w.ready())
	t.Logf("the worker's log:\n%s", w.log()[logged:])
}

func lastOperationEvent(events []jobs.Event) string {
	last := ""
	for _, e := range events {
		if e.Data.Step == nil && e.Type != jobs.EventTypeName(jobs.ClusterReadyEv) {
			last = e.Type
		}
	}
	return last
}

// storedToTheEnd asserts that the new stream holds an operation's events from
// some number on, without a gap, to the last that was told.
func (s *site) storedToTheEnd(t *testing.T, ctx context.Context, po *portal, requestID string) {
	t.Helper()
	told := po.told(requestID)
	last := told[len(told)-1].Data.Seq
	cons, err := po.js.OrderedConsumer(ctx, jobs.StreamEvents, jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	next := int64(0)
	for next <= last {
		m, err := cons.Next(jetstream.FetchMaxWait(10 * time.Second))
		require.NoErrorf(t, err, "the stream ends before event %d of %d", next, last)
		var e jobs.Event
		require.NoError(t, json.Unmarshal(m.Data(), &e))
		if e.Data.RequestID != requestID {
			continue
		}
		if next > 0 {
			require.Equal(t, next, e.Data.Seq)
		}
		next = e.Data.Seq + 1
	}
}
