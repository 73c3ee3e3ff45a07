package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// portal is a portal as any developer would write one: it publishes JSON and
// reads JSON, with nothing of pgforeman but the contract.
type portal struct {
	t      *testing.T
	nc     *nats.Conn
	js     jetstream.JetStream
	tenant string

	mu      sync.Mutex
	events  []jobs.Event
	arrived []time.Time // of each event
}

// openPortal connects and begins to read every event of the tenant.
func openPortal(t *testing.T, p *program, tenant string) *portal {
	t.Helper()
	return openPortalOn(t, p.connect(), tenant)
}

// openPortalOn is openPortal on a connection.
func openPortalOn(t *testing.T, nc *nats.Conn, tenant string) *portal {
	t.Helper()
	po := &portal{t: t, nc: nc, tenant: tenant}
	js, err := jetstream.New(po.nc)
	require.NoError(t, err)
	po.js = js
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	cons, err := js.OrderedConsumer(ctx, jobs.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"pgforeman.v1.event." + tenant + ".>"},
	})
	require.NoError(t, err)
	reading, err := cons.Consume(func(m jetstream.Msg) {
		var e jobs.Event
		if err := json.Unmarshal(m.Data(), &e); err != nil {
			t.Errorf("event on %s is not JSON: %v\n%s", m.Subject(), err, m.Data())
			return
		}
		po.mu.Lock()
		po.events = append(po.events, e)
		po.arrived = append(po.arrived, time.Now())
		po.mu.Unlock()
	})
	require.NoError(t, err)
	t.Cleanup(reading.Stop)
	return po
}

// publish sends a request in structured mode and waits for JetStream's word.
func (po *portal) publish(id string, kind jobs.KindName, cluster string, data any) {
	po.t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "test/portal", "type": "pgforeman.v1." + string(kind),
		"subject": cluster, "datacontenttype": "application/json", "data": data,
	})
	require.NoError(po.t, err)
	po.publishRaw("pgforeman.v1.request."+po.tenant+"."+string(kind), body)
}

// publishRaw sends any bytes to a subject and waits for JetStream's word.
func (po *portal) publishRaw(subject string, body []byte) {
	po.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := po.js.Publish(ctx, subject, body)
	require.NoError(po.t, err)
}

// told gives the events read so far of one request, in order.
func (po *portal) told(requestID string) []jobs.Event {
	po.mu.Lock()
	defer po.mu.Unlock()
	var of []jobs.Event
	for _, e := range po.events {
		if e.Data.RequestID == requestID {
			of = append(of, e)
		}
	}
	return of
}

// after is when the first event arrived after a moment; zero when none did.
func (po *portal) after(moment time.Time) time.Time {
	po.mu.Lock()
	defer po.mu.Unlock()
	for _, at := range po.arrived {
		if at.After(moment) {
			return at
		}
	}
	return time.Time{}
}

// facts gives the events of a type read so far about a cluster.
func (po *portal) facts(cluster string, typ jobs.EventType) []jobs.Event {
	po.mu.Lock()
	defer po.mu.Unlock()
	var of []jobs.Event
	for _, e := range po.events {
		if e.Data.Cluster == cluster && e.Type == jobs.EventTypeName(typ) {
			of = append(of, e)
		}
	}
	return of
}

// await waits until an event of one of the types was told about the request.
func (po *portal) await(requestID string, limit time.Duration, types ...jobs.EventType) jobs.Event {
	po.t.Helper()
	var found jobs.Event
	eventually(po.t, limit, fmt.Sprintf("one of %v of request %s", types, requestID), func() error {
		last := "nothing told"
		for _, e := range po.told(requestID) {
			last = e.Type + ": " + e.Data.Message
			for _, typ := range types {
				if e.Type == jobs.EventTypeName(typ) {
					found = e
					return nil
				}
			}
		}
		return fmt.Errorf("last event: %s", last)
	})
	return found
}

// checkOrder asserts what every operation's events keep: seq without a gap from
// 1, percent that never falls.
func (po *portal) checkOrder(requestID string) {
	po.t.Helper()
	percent := 0
	seen := map[string]bool{}
	var seq int64
	for _, e := range po.told(requestID) {
		if seen[e.ID] {
			continue // at least once
		}
		seen[e.ID] = true
		seq++
		require.Equalf(po.t, seq, e.Data.Seq, "seq of %s (%s)", e.Type, e.Data.Message)
		require.GreaterOrEqualf(po.t, e.Data.Percent, percent, "percent falls at %s", e.Type)
		percent = e.Data.Percent
	}
	require.Positive(po.t, seq, "no events of %s", requestID)
}
