package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/storetest"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests end the database server before goroutines are counted.
type tests struct{ *testing.M }

func (m tests) Run() int {
	code := m.M.Run()
	storetest.Stop()
	return code
}

// patience bounds every wait of these tests: the machine may be loaded.
const patience = 60 * time.Second

const tenant = "shop"

// backend is a store as the tests look at it.
type backend interface {
	Store
	Operation(ctx context.Context, tenant, id string) (jobs.Operation, []jobs.StepRecord, error)
	DeadLetters(ctx context.Context, tenant string, all bool, limit int) ([]jobs.DeadLetter, error)
	Cluster(ctx context.Context, id string) (jobs.Cluster, error)
}

// world is a NATS server, a store and scripted steps; workers are added.
type world struct {
	*script
	t      *testing.T
	store  backend
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newWorld(t *testing.T, store backend) *world {
	t.Helper()
	w := &world{t: t, store: store, server: natstest.Start(t), script: newScript()}
	w.nc = w.server.Connect()
	var err error
	w.js, err = jetstream.New(w.nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, EnsureStreams(ctx, w.js, 1))
	return w
}

func logTo(w io.Writer) zerolog.Logger { return zerolog.New(w) }

// running is a worker under test.
type running struct {
	*Worker
	kill context.CancelFunc
	done chan struct{}
}

// stop ends the worker and waits until it has ended.
func (r *running) stop() {
	r.kill()
	<-r.done
}

// start starts a worker; change may alter its options.
func (w *world) start(name string, change ...func(*Options)) *running {
	w.t.Helper()
	log := logTo(io.Discard)
	if testing.Verbose() {
		log = logTo(zerolog.NewTestWriter(w.t))
	}
	opt := Options{
		Name: name, Kinds: testKinds(), Steps: w.types(), Store: w.store, NATS: w.server.Connect(), Log: log, PerTenant: 100,
		Timing: Timing{Poll: 100 * time.Millisecond, Unknown: 20 * time.Millisecond, Announce: time.Millisecond,
			Throttle: 20 * time.Millisecond, Pull: 4 * time.Second},
	}
	for _, c := range change {
		c(&opt)
	}
	worker, err := New(opt)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: worker, kill: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := worker.Run(ctx); err != nil {
			w.t.Errorf("worker %s: %v", name, err)
		}
	}()
	w.t.Cleanup(r.stop)
	return r
}

// publish sends a message to the requests' stream, and waits for its PubAck.
func (w *world) publish(subject string, body []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := w.js.Publish(ctx, subject, body)
	require.NoError(w.t, err)
}

// send publishes a request.
func (w *world) send(kind jobs.KindName, id, cluster string, data any) {
	w.t.Helper()
	w.publish(jobs.RequestSubject(tenant, kind), request(kind, id, cluster, data))
}

func request(kind jobs.KindName, id, cluster string, data any) []byte {
	e := map[string]any{"specversion": "1.0", "id": id, "source": "test", "type": jobs.RequestTypeName(kind), "data": data}
	if cluster != "" {
		e["subject"] = cluster
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return body
}

// until waits until ok says so.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !ok() {
		pause(ctx, 5*time.Millisecond)
		require.NoError(w.t, ctx.Err(), "waited in vain: %s", what)
	}
}

// operation gives the operation of a request; the zero one when there is none.
func (w *world) operation(request string) jobs.Operation {
	op, _, err := w.store.Operation(context.Background(), tenant, request)
	if err != nil {
		return jobs.Operation{}
	}
	return op
}

// steps gives the steps of a request's operation by their names.
func (w *world) steps(request string) map[string]jobs.StepRecord {
	_, list, err := w.store.Operation(context.Background(), tenant, request)
	require.NoError(w.t, err)
	steps := map[string]jobs.StepRecord{}
	for _, st := range list {
		steps[st.String()] = st
	}
	return steps
}

func (w *world) cluster(request string) jobs.Cluster {
	c, err := w.store.Cluster(context.Background(), w.operation(request).ClusterID)
	require.NoError(w.t, err)
	return c
}

// ends waits until the operation of a request is in the state.
func (w *world) ends(request string, state jobs.OperationState) jobs.Operation {
	w.t.Helper()
	var op jobs.Operation
	w.until(fmt.Sprintf("%s %s", request, state), func() bool {
		op = w.operation(request)
		return op.State == state
	})
	return op
}

// letters gives the open dead letters once there are n of them.
func (w *world) letters(n int) []jobs.DeadLetter {
	w.t.Helper()
	var list []jobs.DeadLetter
	w.until(fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		list, err = w.store.DeadLetters(context.Background(), tenant, false, 1000)
		return err == nil && len(list) == n
	})
	return list
}

// events gives what was published about a request, up to the first event of
// the type last, which it waits for.
func (w *world) events(requestID string, last jobs.EventType) []jobs.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	consumer, err := w.js.OrderedConsumer(ctx, jobs.StreamEvents, jetstream.OrderedConsumerConfig{})
	require.NoError(w.t, err)
	var seen []jobs.Event
	for ctx.Err() == nil {
		msg, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			continue
		}
		var e jobs.Event
		require.NoError(w.t, json.Unmarshal(msg.Data(), &e))
		if e.Data.RequestID != requestID {
			continue
		}
		seen = append(seen, e)
		if e.Type == jobs.EventTypeName(last) {
			return seen
		}
	}
	require.Failf(w.t, "event missing", "%s of %s; seen %v", last, requestID, typesOf(seen))
	return nil
}

func typesOf(events []jobs.Event) []string {
	types := make([]string, len(events))
	for i, e := range events {
		types[i] = strings.TrimPrefix(e.Type, "pgforeman.v1.")
		if e.Data.Step != nil {
			types[i] += " " + e.Data.Step.Name
		}
	}
	return types
}

// inOrder asserts what every operation's events promise: a gapless seq from 1
// and a percent that never falls.
func inOrder(t *testing.T, events []jobs.Event) {
	t.Helper()
	percent := 0
	for i, e := range events {
		require.Equal(t, int64(i+1), e.Data.Seq, "seq of %v", typesOf(events[:i+1]))
		require.GreaterOrEqual(t, e.Data.Percent, percent)
		percent = e.Data.Percent
	}
}
