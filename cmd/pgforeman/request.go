package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// requestFlags are those of every command that publishes a request.
type requestFlags struct {
	wait   bool
	detach bool
	id     string
}

func (r *requestFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&r.wait, "wait", true, "wait for the end, and show progress; Ctrl-C ends the waiting alone")
	c.Flags().BoolVar(&r.detach, "detach", false, "return as soon as the request is safe, and print its id")
	c.Flags().StringVar(&r.id, "id", "", "id of the request: repeating it with the same id changes nothing (default: a new one)")
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if r.detach && c.Flags().Changed("wait") && r.wait {
			return withCode(exitUsage, errors.New("--wait and --detach exclude each other"))
		}
		if !r.wait {
			r.detach = true
		}
		if check != nil {
			return check(c, args)
		}
		return nil
	}
}

// submit publishes a request and waits for its end, unless it is detached. The
// event is the one that the request ended with; nil when nobody waits.
func (f *front) submit(ctx context.Context, c *cobra.Command, p portal, r client.Request, flags requestFlags) (*told, error) {
	receipt, err := f.publish(ctx, c, p, r, flags)
	if err != nil || flags.detach {
		return nil, err
	}
	t := receipt.Target()
	if !jobs.IsName(t.Cluster) {
		t.Cluster = "" // it will be rejected, where clusters without a name are told of
	}
	return f.follow(ctx, p, t, f.display(c, p))
}

// publish publishes a request. Detached, it prints what identifies it.
func (f *front) publish(ctx context.Context, c *cobra.Command, p portal, r client.Request, flags requestFlags) (client.Receipt, error) {
	r.ID = flags.id
	if r.ID == "" {
		r.ID = client.NewRequestID()
	} else if clean(r.ID) != r.ID || utf8.RuneCountInString(r.ID) > 128 {
		return client.Receipt{}, withCode(exitUsage, errors.New("--id is not 1 to 128 printable characters"))
	}
	receipt, err := p.Publish(ctx, r)
	if err != nil {
		var refused *jobs.Error
		if errors.As(err, &refused) || errors.Is(err, client.ErrNoConnection) || errors.Is(err, client.ErrNoStream) || errors.Is(err, client.ErrRefused) {
			return receipt, err
		}
		return receipt, fmt.Errorf("%w\nIt is not known whether the request was taken; the same command with --id %s is safe to repeat", err, r.ID)
	}
	if !flags.detach {
		return receipt, nil
	}
	if f.json() {
		return receipt, printJSON(c.OutOrStdout(), struct {
			RequestID string        `json:"request_id"`
			Kind      jobs.KindName `json:"kind"`
			Cluster   string        `json:"cluster,omitempty"`
			Duplicate bool          `json:"duplicate"`
		}{receipt.RequestID, receipt.Kind, receipt.Cluster, receipt.Duplicate})
	}
	if _, err := fmt.Fprintln(c.OutOrStdout(), receipt.RequestID); err != nil {
		return receipt, err
	}
	_, err = fmt.Fprintf(c.ErrOrStderr(), "See what becomes of it: %s\n", f.command("operation watch %s", receipt.RequestID))
	return receipt, err
}

// told is what was told of an operation until its end.
type told struct {
	end       jobs.Event
	endpoints *jobs.Endpoints
}

// is tells how the operation ended.
func (t *told) is(end jobs.EventType) bool { return client.TypeOf(t.end) == end }

// noWorkerAfter is how long a request may stay without a word before a person is
// told that no worker seems to run.
const noWorkerAfter = 5 * time.Second

// follow shows the progress of an operation until it ends, and closes the
// display.
func (f *front) follow(ctx context.Context, p portal, t client.Target, show display) (*told, error) {
	defer show.close()
	silent := time.AfterFunc(noWorkerAfter, func() {
		show.note("the request is safe, but no worker has taken it yet; is one running (pgforeman doctor)?")
	})
	defer silent.Stop()
	var all told
	id := t.OperationID
	if id == "" {
		id = t.RequestID
	}
	for e, err := range p.Watch(ctx, t) {
		if err != nil {
			show.close()
			return nil, f.interrupted(err, id)
		}
		silent.Stop()
		if client.TypeOf(e) != jobs.OperationRejected { // which is an error, told as such
			show.event(e)
		}
		if e.Data.OperationID != "" {
			id = e.Data.OperationID
		}
		if e.Data.Endpoints != nil {
			all.endpoints = e.Data.Endpoints
		}
		all.end = e
	}
	show.close()
	if all.end.ID == "" {
		return nil, f.interrupted(errors.New("nothing was told"), id)
	}
	return &all, nil
}

// finish ends a command that waited: with -o json it prints the operation, else
// done says what was reached. An operation that did not end as wanted is an
// error.
func (f *front) finish(ctx context.Context, c *cobra.Command, p portal, t *told, want jobs.EventType, done func() error) error {
	if t.is(jobs.OperationRejected) {
		return f.failure(t.end)
	}
	if f.json() {
		var view jobs.OperationView
		if err := p.Query(ctx, jobs.QueryOperationGet, jobs.Query{ID: t.end.Data.OperationID}, &view); err != nil {
			return err
		}
		if err := printJSON(c.OutOrStdout(), view); err != nil {
			return err
		}
	}
	switch {
	case !t.is(want):
		return f.failure(t.end)
	case f.json():
		return nil
	}
	return done()
}
