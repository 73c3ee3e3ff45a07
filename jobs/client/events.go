package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// EventFilter says which of the tenant's events to read.
type EventFilter struct {
	// Cluster's name; all clusters when empty.
	Cluster string
	// Since is where to begin; the zero time means with the first event that
	// is kept.
	Since time.Time
	// Follow goes on with what is told from now on, until the context ends.
	Follow bool
}

// Events reads events in the order in which they were told. Without Follow it
// ends with the last one. An error ends it.
func (c *Client) Events(ctx context.Context, f EventFilter) iter.Seq2[jobs.Event, error] {
	return func(yield func(jobs.Event, error) bool) {
		cluster := f.Cluster
		switch {
		case cluster == "":
			cluster = "*"
		case !jobs.IsName(cluster):
			yield(jobs.Event{}, fmt.Errorf("%q is not the name of a cluster", cluster))
			return
		}
		r := reader{c: c, subjects: []string{eventSubjects(c.tenant, cluster)}, since: f.Since, once: !f.Follow}
		for d, err := range r.read(ctx) {
			if !yield(d.event, err) || err != nil {
				return
			}
		}
	}
}

// eventSubjects are the subjects of a cluster's events.
func eventSubjects(tenant, cluster string) string {
	return strings.Join([]string{jobs.Prefix, jobs.Version, "event", tenant, cluster, ">"}, ".")
}

// told is an event and where it was in the stream.
type told struct {
	event    jobs.Event
	sequence uint64
	pending  uint64 // how many of the subjects' messages follow it now
}

// reader reads the stream of events from a place on, without a gap: when the
// connection was lost it goes on after the last event that it gave.
type reader struct {
	c        *Client
	subjects []string
	since    time.Time
	once     bool // end with the last event that there is
	next     uint64
}

func (r *reader) read(ctx context.Context) iter.Seq2[told, error] {
	return func(yield func(told, error) bool) {
		opened := false
		for {
			messages, empty, err := r.open(ctx)
			if err == nil {
				opened = true
				if empty && r.once {
					messages.Stop()
					return
				}
				var more bool
				more, err = r.drain(ctx, messages, yield)
				messages.Stop()
				if !more {
					return
				}
			}
			if ctx.Err() != nil {
				yield(told{}, ctx.Err())
				return
			}
			if !opened || r.c.nc.IsClosed() {
				yield(told{}, r.c.translate("read the events", err))
				return
			}
			pause(ctx, time.Second)
		}
	}
}

// open begins to read; empty says that there is nothing to read yet.
func (r *reader) open(ctx context.Context) (messages jetstream.MessagesContext, empty bool, err error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: r.subjects, DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case r.next > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.next
	case !r.since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.since
	}
	ctx, cancel := r.c.bound(ctx)
	defer cancel()
	consumer, err := r.c.js.OrderedConsumer(ctx, jobs.StreamEvents, cfg)
	if err != nil {
		return nil, false, err
	}
	if info := consumer.CachedInfo(); info != nil {
		empty = info.NumPending == 0
	}
	messages, err = consumer.Messages()
	return messages, empty, err
}

// drain gives what comes in; more says that it ended by itself and the reader
// should go on.
func (r *reader) drain(ctx context.Context, messages jetstream.MessagesContext, yield func(told, error) bool) (more bool, err error) {
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return true, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return true, err
		}
		r.next = meta.Sequence.Stream + 1
		d := told{sequence: meta.Sequence.Stream, pending: meta.NumPending}
		if err := json.Unmarshal(msg.Data(), &d.event); err != nil {
			err = fmt.Errorf("event %d on %s is not of this contract: %w", d.sequence, msg.Subject(), err)
			yield(told{}, err)
			return false, err
		}
		if !yield(d, nil) || r.once && d.pending == 0 {
			return false, nil
		}
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// isEnd tells whether an event is the last of an operation (for now: a failed
// one may be replayed).
func isEnd(t jobs.EventType) bool {
	switch t { //nolint:exhaustive // all others are not
	case jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationCancelledEv, jobs.OperationRejected:
		return true
	}
	return false
}

// TypeOf is an event's type without the contract's prefix.
func TypeOf(e jobs.Event) jobs.EventType {
	return jobs.EventType(strings.TrimPrefix(e.Type, jobs.EventTypeName("")))
}

// errNoTarget: a Target that names nothing.
var errNoTarget = errors.New("name a request or an operation to watch")
