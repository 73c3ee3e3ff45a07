package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// control is a request that acts on another operation.
type control struct {
	kind jobs.KindName
	spec jobs.ControlSpec
	// target is the operation as it was before; without an id where the
	// request acts on an unreadable message.
	target jobs.OperationView
	want   jobs.EventType // how the target is to end
	done   string         // what to say then
}

// control publishes a control request and, unless it is detached, waits for
// what it sets going: first for its own end, which says whether it was allowed,
// then for the end of its target.
func (f *front) control(ctx context.Context, c *cobra.Command, p portal, r control, flags requestFlags) error {
	receipt, err := f.publish(ctx, c, p, client.Request{Kind: r.kind, Data: r.spec}, flags)
	if err != nil || flags.detach {
		return err
	}
	own := receipt.Target()
	if jobs.IsName(r.target.Cluster) {
		own.Cluster = r.target.Cluster // a control operation is told of with its target's cluster
	}
	ended, err := f.follow(ctx, p, own, &quiet{plain{out: c.ErrOrStderr()}})
	switch {
	case err != nil:
		return err
	case ended.is(jobs.OperationRejected) && ended.end.Data.Error != nil:
		return f.refusal(ended.end.Data.Error, r.target.ID)
	case !ended.is(jobs.OperationSucceededEv):
		return f.failure(ended.end)
	case r.target.ID == "":
		return f.finish(ctx, c, p, ended, jobs.OperationSucceededEv, say(c, r.done))
	}
	if ended, err = f.followTarget(ctx, c, p, r.target); err != nil {
		return err
	}
	return f.finish(ctx, c, p, ended, r.want, say(c, r.done))
}

// followTarget follows an operation from where it was before the control
// request. When nothing has been told since, because the same request was
// carried out before, its end is the one that is recorded.
func (f *front) followTarget(ctx context.Context, c *cobra.Command, p portal, before jobs.OperationView) (*told, error) {
	now, err := operationOf(ctx, p, before.ID)
	if err != nil {
		return nil, err
	}
	if now.Seq <= before.Seq && jobs.OperationState(now.State).Final() {
		return &told{end: recordedEnd(now)}, nil
	}
	target := client.Target{OperationID: before.ID, Cluster: before.Cluster, AfterSeq: before.Seq}
	return f.follow(ctx, p, target, f.display(c, p))
}

// recordedEnd is the end of an operation as an event would tell it.
func recordedEnd(v jobs.OperationView) jobs.Event {
	return jobs.Event{
		ID: v.ID, Type: jobs.EventTypeName(jobs.EventType("operation." + v.State)), Subject: v.Cluster, Tenant: v.Tenant,
		Data: jobs.EventData{OperationID: v.ID, RequestID: v.RequestID, Kind: v.Kind, Cluster: v.Cluster, Percent: v.Percent, Error: v.Error},
	}
}

// say prints a last line.
func say(c *cobra.Command, text string) func() error {
	return func() error {
		_, err := fmt.Fprintln(c.OutOrStdout(), text)
		return err
	}
}

// interactive tells whether a person can be asked.
func interactive(c *cobra.Command) bool {
	in, ok := c.InOrStdin().(*os.File)
	return ok && isTerminal(in)
}
