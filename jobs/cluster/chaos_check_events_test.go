package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// verifyFates checks that every message of the requests' stream, which are all
// that JetStream ever acknowledged, became exactly one thing.
func (s *sim) verifyFates(f facts) {
	operations := map[string]string{} // tenant/request/hash → id
	for _, o := range f.operations {
		key := o.tenant + "/" + o.request + "/" + o.hash
		s.check(invTwice, 1)
		if other, twice := operations[key]; twice {
			s.violate(invTwice, "request %s became the operations %s and %s", key, other, o.id)
		}
		operations[key] = o.id
	}
	letters := map[uint64]int{}
	for _, d := range f.letters {
		letters[uint64(d.seq)]++
	}
	for _, m := range f.requests {
		s.check(invLost, 1)
		req, err := jobs.ParseRequest(m.Subject, m.Header, m.Data)
		key := req.Tenant + "/" + req.ID + "/" + req.Hash
		_, admitted := operations[key]
		fates := letters[m.Sequence] + f.rejections[key]
		if admitted {
			fates++
		}
		var unreadable *jobs.Unreadable
		if errors.As(err, &unreadable) {
			fates = letters[m.Sequence]
		}
		if fates != 1 {
			s.violate(invLost, "message %d (%s %s) has %d fates: an operation %t, rejections %d, dead letters %d", m.Sequence, m.Subject, req.ID,
				fates, admitted, f.rejections[key], letters[m.Sequence])
		}
	}
}

// verifyEvents checks each operation's events in the order in which they are in
// the stream.
func (s *sim) verifyEvents(f facts) {
	type told struct {
		seq     int64
		percent int
		last    string
	}
	operations := map[string]*told{}
	rejected := map[string]int{}
	for _, m := range f.events {
		var e jobs.Event
		if err := json.Unmarshal(m.Data, &e); err != nil {
			s.violate(invSeq, "event %d cannot be read: %v", m.Sequence, err)
			continue
		}
		if e.Type == jobs.EventTypeName(jobs.OperationRejected) {
			rejected[e.Tenant+"/"+e.Data.RequestID]++
		}
		if e.Data.OperationID == "" {
			continue
		}
		t := operations[e.Data.OperationID]
		if t == nil {
			t = &told{}
			operations[e.Data.OperationID] = t
		}
		s.check(invSeq, 1)
		if e.Data.Seq != t.seq+1 || e.Data.Percent < t.percent {
			s.violate(invSeq, "operation %s: seq %d after %d, percent %d after %d, %s after %s",
				e.Data.OperationID, e.Data.Seq, t.seq, e.Data.Percent, t.percent, e.Type, t.last)
		}
		if first := e.Type == jobs.EventTypeName(jobs.OperationAccepted); first != (t.seq == 0) {
			s.violate(invSeq, "operation %s: event number %d is %s", e.Data.OperationID, e.Data.Seq, e.Type)
		}
		if isFate(t.last) && !strings.HasSuffix(t.last, "failed") {
			s.violate(invLost, "operation %s: %s after %s", e.Data.OperationID, e.Type, t.last)
		}
		t.seq, t.percent, t.last = e.Data.Seq, e.Data.Percent, e.Type
	}
	for id, o := range f.operations {
		t := operations[id]
		if t == nil || t.seq != o.seq {
			s.violate(invEvents, "operation %s has told %d events; published: %+v", id, o.seq, t)
			continue
		}
		if t.last != jobs.EventTypeName(jobs.EventType("operation."+o.state)) {
			s.violate(invLost, "operation %s is %s, its last event is %s", id, o.state, t.last)
		}
	}
	stored := map[string]int{}
	for key := range f.rejections {
		stored[key[:strings.LastIndex(key, "/")]]++
	}
	for key := range union(stored, rejected) {
		if stored[key] != rejected[key] {
			s.violate(invLost, "request %s was rejected %d times, and told %d times", key, stored[key], rejected[key])
		}
	}
}

func union(maps ...map[string]int) map[string]bool {
	all := map[string]bool{}
	for _, m := range maps {
		for k := range m {
			all[k] = true
		}
	}
	return all
}

func isFate(event string) bool {
	for _, state := range []string{"succeeded", "failed", "cancelled"} {
		if event == jobs.EventTypeName(jobs.EventType("operation."+state)) {
			return true
		}
	}
	return false
}

// verifyDead checks that every failure has a dead letter, open exactly while the
// operation is failed.
func (s *sim) verifyDead(f facts, h *history) {
	letters, open := map[string]int{}, map[string]int{}
	for _, d := range f.letters {
		letters[d.operation]++
		if d.state == string(jobs.DeadOpen) {
			open[d.operation]++
		}
	}
	for id, past := range h.operations {
		s.check(invDead, 1)
		want := 0
		if past.state == string(jobs.OperationFailed) {
			want = 1
		}
		if letters[id] != past.failures || open[id] != want {
			s.violate(invDead, "operation %s is %s, has failed %d times, and has %d dead letters, %d of them open",
				id, past.state, past.failures, letters[id], open[id])
		}
	}
}

// verifyMessages checks that exactly what the outbox ever held was published,
// each once, dead letters and facts included.
func (s *sim) verifyMessages(f facts) {
	published := map[string]int{}
	for _, list := range [][]*jetstream.RawStreamMsg{f.events, f.dead} {
		for _, m := range list {
			published[m.Header.Get("Nats-Msg-Id")]++
		}
	}
	for _, c := range f.log {
		if c.What != "message" {
			continue
		}
		s.check(invEvents, 1)
		if n := published[c.MsgID]; n != 1 && (n != 0 || !f.outbox[c.MsgID]) {
			s.violate(invEvents, "the message %s for %s was published %d times", c.MsgID, c.Subject, n)
		}
		delete(published, c.MsgID)
	}
	for id := range published {
		s.violate(invEvents, "%s was published, but no transaction that was committed had told it", fmt.Sprintf("%q", id))
	}
}
