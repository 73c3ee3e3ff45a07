package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	opID     = "0192f0c4-0000-7000-8000-000000000001"
	letterID = "0192f0c4-0000-7000-8000-00000000000d"
)

// fakePortal answers as it is told and remembers what it was asked.
type fakePortal struct {
	query func(what string, q jobs.Query) (any, error)
	// watch gives the events of a target, then its error, if any.
	watch       func(t client.Target) ([]jobs.Event, error)
	events      []jobs.Event
	credentials jobs.Credentials
	refused     error // what Publish answers

	published []client.Request
	watched   []client.Target
	filter    client.EventFilter
	closed    int
}

func (p *fakePortal) Publish(_ context.Context, r client.Request) (client.Receipt, error) {
	p.published = append(p.published, r)
	return client.Receipt{RequestID: r.ID, Kind: r.Kind, Cluster: r.Cluster}, p.refused
}

func (p *fakePortal) Watch(_ context.Context, t client.Target) iter.Seq2[jobs.Event, error] {
	p.watched = append(p.watched, t)
	events, err := p.watch(t)
	return give(events, err)
}

func (p *fakePortal) Events(_ context.Context, f client.EventFilter) iter.Seq2[jobs.Event, error] {
	p.filter = f
	return give(p.events, nil)
}

func give(events []jobs.Event, err error) iter.Seq2[jobs.Event, error] {
	return func(yield func(jobs.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(jobs.Event{}, err)
		}
	}
}

func (p *fakePortal) Query(_ context.Context, what string, q jobs.Query, into any) error {
	answer, err := p.query(what, q)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

func (p *fakePortal) Credentials(_ context.Context, cluster, user string) (jobs.Credentials, error) {
	if cluster != "orders" {
		return jobs.Credentials{}, unknownCluster(cluster)
	}
	c := p.credentials
	if user != "" {
		c.Username = user
	}
	return c, nil
}

func (p *fakePortal) Close() { p.closed++ }

func unknownCluster(name string) error {
	return &jobs.Error{Code: jobs.CodeUnknownCluster, Message: fmt.Sprintf("there is no cluster %q", name)}
}

// ran is how a command line ended.
type ran struct {
	stdout, stderr string
	err            error
	code           int // 0 when there is no error
}

// run runs a command line of the portal's commands on p.
func run(t *testing.T, p *fakePortal, args ...string) ran {
	t.Helper()
	for _, name := range []string{"NATS_URL", "PGFOREMAN_TENANT"} {
		t.Setenv(name, "")
	}
	g := &globals{server: nats.DefaultURL}
	f := &front{globals: g, connect: func(context.Context) (portal, error) { return p, nil }}
	root := &cobra.Command{Use: "pgforeman", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().StringVarP(&g.output, "output", "o", "table", "")
	root.PersistentFlags().StringVar(&g.tenant, "tenant", "default", "")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withCode(exitUsage, err) })
	root.AddCommand(clusterCommand(f), operationCommand(f), deadCommand(f), eventsCommand(f), auditCommand(f))
	usageErrors(root)
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(""))
	root.SetArgs(args)
	r := ran{err: root.ExecuteContext(t.Context())}
	r.stdout, r.stderr = out.String(), errs.String()
	if r.err != nil {
		r.code = exitCode(r.err)
		r.stderr += "Error: " + r.err.Error() + "\n"
	}
	return r
}

// must is run of what has to end well.
func must(t *testing.T, p *fakePortal, args ...string) string {
	t.Helper()
	r := run(t, p, args...)
	require.NoErrorf(t, r.err, "pgforeman %s", strings.Join(args, " "))
	return r.stdout
}

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with -update")
	require.Equal(t, string(want), got)
}

// clock is a fixed time, n seconds later.
func clock(n int) time.Time {
	return time.Date(2026, 1, 31, 13, 45, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

func pointer[T any](v T) *T { return &v }

// recording makes the events of one operation.
type recording struct {
	events  []jobs.Event
	kind    jobs.KindName
	percent int
}

func (r *recording) tell(typ jobs.EventType, message string, change ...func(*jobs.EventData)) *recording {
	n := len(r.events) + 1
	d := jobs.EventData{
		OperationID: opID, RequestID: "req-1", Kind: r.kind, Cluster: "orders", Seq: int64(n), Percent: r.percent, Message: message,
	}
	for _, c := range change {
		c(&d)
	}
	r.percent = d.Percent
	r.events = append(r.events, jobs.Event{
		SpecVersion: "1.0", ID: fmt.Sprintf("event-%d", n), Source: "pgforeman/test", Type: jobs.EventTypeName(typ), Subject: "orders",
		Time: clock(n), ContentType: "application/json", Tenant: "default", Data: d,
	})
	return r
}

func at(percent int) func(*jobs.EventData) { return func(d *jobs.EventData) { d.Percent = percent } }

func step(name, title, node string, stage, attempt int) func(*jobs.EventData) {
	return func(d *jobs.EventData) {
		d.Step = &jobs.EventStep{Name: name, Title: title, Node: node, Stage: stage, Stages: 3, Attempt: attempt}
	}
}

func undone(d *jobs.EventData) { d.Step.Undo = true }

func saw(o jobs.Observation) func(*jobs.EventData) {
	return func(d *jobs.EventData) { d.Progress = &o }
}

func failed(code jobs.Code, message string) func(*jobs.EventData) {
	return func(d *jobs.EventData) { d.Error = &jobs.Error{Code: code, Message: message} }
}

// creation is a creation up to the middle of its last stage.
func creation() *recording {
	r := &recording{kind: jobs.ClusterCreate}
	return r.tell(jobs.OperationAccepted, "accepted").
		tell(jobs.OperationStarted, `create a cluster "orders": started`).
		tell(jobs.StepStarted, "make the network", step("network.ensure", "make the network", "", 1, 1)).
		tell(jobs.StepSucceededEv, "make the network: done", step("network.ensure", "make the network", "", 1, 1), at(10)).
		tell(jobs.StepStarted, "start node orders-1", step("node.start", "start node", "orders-1", 2, 1)).
		tell(jobs.StepRetrying, "start node orders-1 is tried again in 500ms: Docker is busy",
			step("node.start", "start node", "orders-1", 2, 1), failed(jobs.CodeUnavailable, "Docker is busy")).
		tell(jobs.StepSucceededEv, "start node orders-1: done", step("node.start", "start node", "orders-1", 2, 2), at(40)).
		tell(jobs.StepStarted, "copy the data orders-2", step("node.basebackup", "copy the data", "orders-2", 3, 1)).
		tell(jobs.StepStarted, "copy the data orders-3", step("node.basebackup", "copy the data", "orders-3", 3, 1)).
		tell(jobs.StepProgressed, "copy the data orders-2: 12 of 24 MiB", step("node.basebackup", "copy the data", "orders-2", 3, 1),
			saw(jobs.Observation{Message: "orders-2: 12 of 24 MiB", Done: 12, Total: 24, Unit: "bytes"}), at(55)).
		tell(jobs.StepRetrying, "copy the data orders-3 is tried again in 1s: the leader does not answer",
			step("node.basebackup", "copy the data", "orders-3", 3, 2), failed(jobs.CodeUnavailable, "the leader does not answer"))
}

// created is a creation that succeeded.
func created() []jobs.Event {
	return creation().
		tell(jobs.StepSucceededEv, "copy the data orders-2: done", step("node.basebackup", "copy the data", "orders-2", 3, 1), at(80)).
		tell(jobs.StepSucceededEv, "copy the data orders-3: done", step("node.basebackup", "copy the data", "orders-3", 3, 3), at(99)).
		tell(jobs.ClusterReadyEv, "cluster orders is ready", func(d *jobs.EventData) {
			d.Endpoints = &jobs.Endpoints{Primary: "127.0.0.1:25000", Replica: "127.0.0.1:25001"}
		}).
		tell(jobs.OperationSucceededEv, `create a cluster "orders": done`, at(100)).events
}

// broken is a creation that failed.
func broken() []jobs.Event {
	return creation().
		tell(jobs.StepFailedEv, "copy the data orders-3 failed: the leader does not answer",
			step("node.basebackup", "copy the data", "orders-3", 3, 8), failed(jobs.CodeUnavailable, "the leader does not answer")).
		tell(jobs.OperationFailedEv, `create a cluster "orders" failed`, failed(jobs.CodePortTaken, "host port 5432 is in use\nby another program")).events
}

// rejected is a request that was refused.
func rejected(e *jobs.Error) []jobs.Event {
	return []jobs.Event{{
		ID: "event-r", Type: jobs.EventTypeName(jobs.OperationRejected), Time: clock(0),
		Data: jobs.EventData{RequestID: "req-1", Cluster: "orders", Error: e, Message: "rejected: " + e.Error()},
	}}
}

// operation is the view of an operation that failed.
func operation(state jobs.OperationState) jobs.OperationView {
	return jobs.OperationView{
		ID: opID, RequestID: "req-1", Tenant: "default", Kind: jobs.ClusterCreate, Cluster: "orders", State: string(state),
		Percent: 55, Actor: "pgforeman-cli/ann", Seq: 13, AcceptedAt: clock(1),
	}
}
