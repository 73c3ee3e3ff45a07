package worker

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func testDuplicates(t *testing.T, w *world) {
	w.start("one")
	const requests, times = 20, 50
	for range times {
		for i := range requests {
			w.send(jobs.ClusterCreate, fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i), stages("alpha"))
		}
	}
	for i := range requests {
		w.ends(fmt.Sprintf("r%d", i), jobs.OperationSucceeded)
	}
	w.takenIn()
	require.Len(t, w.did(), requests)
	w.letters(0)
}

// takenIn waits until every message of the requests' stream is acked.
func (w *world) takenIn() {
	w.t.Helper()
	w.until("every request is taken in", func() bool { return w.unsettled() == 0 })
}

// unsettled is how many requests are not acked; one at least when that cannot be
// asked.
func (w *world) unsettled() uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := w.js.Consumer(ctx, jobs.StreamRequests, jobs.ConsumerIntake)
	if err != nil {
		return 1
	}
	info := c.CachedInfo()
	return info.NumPending + uint64(info.NumAckPending)
}

func testConflict(t *testing.T, w *world) {
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded)
	w.send(jobs.ClusterCreate, "r1", "orders", stages("beta"))
	events := w.events("r1", jobs.OperationRejected)
	require.Equal(t, jobs.CodeConflict, events[len(events)-1].Data.Error.Code)
	w.send(jobs.ClusterCreate, "r2", "orders", stages("beta"))
	events = w.events("r2", jobs.OperationRejected)
	require.Equal(t, jobs.CodeNameTaken, events[0].Data.Error.Code)
	w.send(jobs.ClusterDelete, "r3", "nowhere", stages("beta"))
	events = w.events("r3", jobs.OperationRejected)
	require.Equal(t, jobs.CodeUnknownCluster, events[0].Data.Error.Code)
	require.Equal(t, []string{"alpha"}, w.did())
}

func testPoison(t *testing.T, w *world) {
	w.start("one")
	create := jobs.RequestSubject(tenant, jobs.ClusterCreate)
	good := string(request(jobs.ClusterCreate, "bad", "orders", stages("alpha")))
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	buried := map[string][]byte{
		"not JSON":       []byte("hello"),
		"empty":          nil,
		"a list":         []byte("[1,2]"),
		"no id":          []byte(strings.Replace(good, `"id":"bad",`, "", 1)),
		"1 MiB of noise": bytes.Repeat([]byte{0xfe, 0x00, '{'}, (1<<20-1024)/3),
		"invalid UTF-8":  []byte(strings.Replace(good, `"bad"`, "\"b\xffd\"", 1)),
		"deep nesting":   []byte(deep),
	}
	rejected := map[string]string{ // by request id
		"wrong-types":   strings.Replace(good, `"stages":[["alpha"]]`, `"stages":"alpha"`, 1),
		"unknown-field": strings.Replace(good, `"stages":`, `"stagez":1,"stages":`, 1),
		"other-type":    strings.Replace(good, `pgforeman.v1.cluster.create`, `pgforeman.v1.cluster.delete`, 1),
		"too-large":     strings.Replace(good, `"source":"test"`, `"source":"test","extra":"`+strings.Repeat("x", jobs.MaxBody)+`"`, 1),
	}
	for _, body := range buried {
		w.publish(create, body)
	}
	for id, body := range rejected {
		w.publish(create, []byte(strings.Replace(body, `"bad"`, `"`+id+`"`, 1)))
	}
	w.publish(jobs.RequestSubject(tenant, "cluster.paint"), request("cluster.paint", "unknown-kind", "orders", nil))
	w.publish(create, []byte(strings.Replace(good, "pgforeman.v1.", "pgforeman.v7.", 1)))
	w.send(jobs.ClusterCreate, "good", "fine", stages("alpha"))
	w.ends("good", jobs.OperationSucceeded)
	for id := range rejected {
		events := w.events(id, jobs.OperationRejected)
		require.Equal(t, jobs.CodeInvalid, events[0].Data.Error.Code, id)
		require.NotEmpty(t, events[0].Data.Error.Faults, id)
	}
	codes := map[jobs.Code]int{}
	for _, d := range w.letters(len(buried) + 2) {
		codes[d.Error.Code]++
		require.NotEmpty(t, d.Reason)
		require.NotEmpty(t, d.Advice)
		require.NotZero(t, d.StreamSeq)
	}
	require.Equal(t, map[jobs.Code]int{jobs.CodeUnreadable: len(buried), jobs.CodeUnknownKind: 2}, codes)
	w.takenIn()
	info, err := w.js.Stream(context.Background(), jobs.StreamDead)
	require.NoError(t, err)
	w.until("the dead letters are published", func() bool {
		i, err := info.Info(context.Background())
		return err == nil && i.State.Msgs == uint64(len(buried)+2)
	})
	require.Equal(t, []string{"alpha"}, w.did())
}

// testRevive replays a message of a kind that was unknown when it came.
func testRevive(t *testing.T, w *world) {
	old := w.start("old", func(o *Options) { o.Kinds = o.Kinds[:1] })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded)
	w.send(jobs.ClusterDelete, "r2", "orders", stages("beta"))
	w.publish(jobs.RequestSubject(tenant, jobs.ClusterDelete), []byte("noise"))
	byCode := map[jobs.Code]string{}
	for _, d := range w.letters(2) {
		byCode[d.Error.Code] = d.ID
	}
	w.send(jobs.OperationReplay, "c1", "", jobs.ControlSpec{DeadLetterID: byCode[jobs.CodeUnknownKind]})
	events := w.events("c1", jobs.OperationRejected)
	require.Equal(t, jobs.CodeUnknownKind, events[0].Data.Error.Code)
	require.Contains(t, events[0].Data.Error.Message, "upgrade the workers")
	old.stop()
	sent := w.requests() + 3 // c2, c3, c4: a worker may not publish requests, and need not

	w.start("new")
	w.send(jobs.OperationReplay, "c2", "", jobs.ControlSpec{DeadLetterID: byCode[jobs.CodeUnknownKind]})
	w.ends("r2", jobs.OperationSucceeded)
	w.letters(1)
	w.send(jobs.OperationReplay, "c3", "", jobs.ControlSpec{DeadLetterID: byCode[jobs.CodeUnreadable]})
	events = w.events("c3", jobs.OperationRejected)
	require.Equal(t, jobs.CodeUnreadable, events[0].Data.Error.Code)
	w.send(jobs.OperationDiscard, "c4", "", jobs.ControlSpec{DeadLetterID: byCode[jobs.CodeUnreadable]})
	w.letters(0)
	require.Equal(t, []string{"alpha", "beta"}, w.did())
	require.Equal(t, sent, w.requests())
}

// requests is how many messages the requests' stream holds.
func (w *world) requests() uint64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := w.js.Stream(ctx, jobs.StreamRequests)
	require.NoError(w.t, err)
	return s.CachedInfo().State.Msgs
}

// testInOrder has a creation go to a foreman that vanishes with it in its hands,
// while its pull still waits for more: the deletion behind it does not overtake it.
func testInOrder(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	gone := w.start("gone")
	w.until("the consumer is there", func() bool { _, err := w.js.Consumer(ctx, jobs.StreamRequests, jobs.ConsumerIntake); return err == nil })
	gone.stop()
	consumer, err := w.js.Consumer(ctx, jobs.StreamRequests, jobs.ConsumerIntake)
	require.NoError(t, err)
	batch, err := consumer.Fetch(16, jetstream.FetchMaxWait(20*time.Second))
	require.NoError(t, err)
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	require.NotNil(t, <-batch.Messages())

	w.send(jobs.ClusterDelete, "r2", "orders", stages("beta"))
	w.start("next")
	w.ends("r2", jobs.OperationSucceeded) // a rejection is another end
	require.Equal(t, []string{"alpha", "beta"}, w.did())
}
