package client

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Target names the operation to watch, by its request or by its own id.
type Target struct {
	RequestID   string
	OperationID string
	// Cluster narrows the search where it is known.
	Cluster string
	// AfterSeq passes over the events up to this seq: those of before a replay,
	// for example.
	AfterSeq int64

	mark uint64 // see Receipt
}

// conflictWait is how long a request whose id had been used before is watched
// after its end, because the new one may still be rejected for its content.
const conflictWait = 5 * time.Second

// Watch gives the events of one operation from its first on, in order, without
// a gap and each once, and ends after operation.succeeded, failed, cancelled or
// rejected. A loss of the connection is bridged. It ends early with an error
// when the context ends or nothing can be read.
func (c *Client) Watch(ctx context.Context, t Target) iter.Seq2[jobs.Event, error] {
	return func(yield func(jobs.Event, error) bool) {
		if t.RequestID == "" && t.OperationID == "" {
			yield(jobs.Event{}, errNoTarget)
			return
		}
		limited, cancel := context.WithCancel(ctx)
		defer cancel()
		w := watcher{target: t, seq: t.AfterSeq, cancel: cancel}
		r := reader{c: c, subjects: t.subjects(c.tenant)}
		for d, err := range r.read(limited) {
			if err != nil {
				if !w.lingers || ctx.Err() != nil {
					yield(jobs.Event{}, err)
				}
				return
			}
			given := w.concerns(d.event)
			if given && !yield(d.event, nil) || w.over(d, given) {
				return
			}
		}
	}
}

// subjects are where the operation's events can be: those of its cluster, and
// of no cluster, where requests are rejected that named none. What cannot be a
// cluster's name narrows nothing.
func (t Target) subjects(tenant string) []string {
	if !jobs.IsName(t.Cluster) {
		return []string{eventSubjects(tenant, "*")}
	}
	none := strings.Join([]string{jobs.Prefix, jobs.Version, "event", tenant, jobs.NoCluster, string(jobs.OperationRejected)}, ".")
	return []string{eventSubjects(tenant, t.Cluster), none}
}

// watcher knows how far a Watch is.
type watcher struct {
	target  Target
	seq     int64  // of the last event given
	end     uint64 // where in the stream the operation ended; 0 when it has not
	left    uint64 // events to look at before the end counts: a replay may follow it
	lingers bool
	cancel  context.CancelFunc
}

// concerns tells whether an event is to be given.
func (w *watcher) concerns(e jobs.Event) bool {
	t, d := w.target, e.Data
	switch {
	case t.RequestID != "" && d.RequestID != t.RequestID,
		t.OperationID != "" && d.OperationID != t.OperationID:
		return false
	case d.Seq == 0: // a rejection belongs to no operation
		return TypeOf(e) == jobs.OperationRejected && w.rejects(d.Error)
	case d.Seq <= w.seq: // told again
		return false
	}
	w.seq = d.Seq
	return true
}

// rejects tells whether a rejection is about the request that is watched. It is
// not where somebody else has used the id again, with other content.
func (w *watcher) rejects(e *jobs.Error) bool {
	other := e != nil && e.Code == jobs.CodeConflict
	return w.target.AfterSeq == 0 && (!other || w.seq == 0 || w.target.mark > 0)
}

// over tells whether the watch ends with this event of the stream.
func (w *watcher) over(d told, given bool) bool {
	switch {
	case given && isEnd(TypeOf(d.event)):
		w.end, w.left = d.sequence, d.pending
	case given:
		w.end = 0
	case w.left > 0:
		w.left--
	}
	if w.end == 0 || w.left > 0 {
		return false
	}
	if w.end > w.target.mark {
		return true
	}
	if !w.lingers {
		w.lingers = true
		time.AfterFunc(conflictWait, w.cancel)
	}
	return false
}
