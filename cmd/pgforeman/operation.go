package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func newOperationCommand(g *globals) *cobra.Command { return operationCommand(newFront(g)) }

// operationCommand is "pgforeman operation" and all below it.
func operationCommand(f *front) *cobra.Command {
	c := &cobra.Command{Use: "operation", Short: "Look at, watch and cancel operations", Aliases: []string{"op"}}
	c.AddCommand(operationListCommand(f), operationShowCommand(f), operationWatchCommand(f), operationCancelCommand(f))
	return c
}

func operationListCommand(f *front) *cobra.Command {
	var q jobs.Query
	c := &cobra.Command{
		Use:   "list",
		Short: "List operations, the newest first",
		Example: "  pgforeman operation list --cluster orders\n" +
			"  pgforeman operation list --state failed -o json | jq -r '.[].id'",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Limit < 1 || q.Limit > mostRows {
				return withCode(exitUsage, fmt.Errorf("--limit %d: 1 to %d rows are given", q.Limit, mostRows))
			}
			if !knownState(q.State) {
				return withCode(exitUsage, fmt.Errorf("--state %q: the states are queued, running, undoing, succeeded, failed, cancelled", q.State))
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				ops := []jobs.OperationView{}
				if err := p.Query(ctx, jobs.QueryOperations, q, &ops); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), ops, drawOperations)
			})
		},
	}
	c.Flags().StringVar(&q.Cluster, "cluster", "", "those of one cluster")
	c.Flags().StringVar(&q.State, "state", "", "those in one state: queued, running, undoing, succeeded, failed, cancelled")
	c.Flags().IntVar(&q.Limit, "limit", 100, fmt.Sprintf("at most so many, up to %d", mostRows))
	return c
}

// knownState tells whether operations can be in a state; "" is any.
func knownState(s string) bool {
	switch jobs.OperationState(s) {
	case "", jobs.OperationQueued, jobs.OperationRunning, jobs.OperationUndoing,
		jobs.OperationSucceeded, jobs.OperationFailed, jobs.OperationCancelled:
		return true
	}
	return false
}

func operationShowCommand(f *front) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show an operation with its steps and what each saw last",
		Long: `Shows an operation: its state, its error, and every step with its attempts and
what it saw last. ID is the operation's, or its request's.`,
		Example: "  pgforeman operation show 0192f0c4-…\n  pgforeman operation show my-request-1 -o json | jq .steps",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				view, err := operationOf(ctx, p, args[0])
				if err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), view, f.drawOperation)
			})
		},
	}
}

// operationOf finds an operation by its id or its request's.
func operationOf(ctx context.Context, p portal, id string) (jobs.OperationView, error) {
	var view jobs.OperationView
	err := p.Query(ctx, jobs.QueryOperationGet, jobs.Query{ID: id}, &view)
	return view, err
}

func operationWatchCommand(f *front) *cobra.Command {
	return &cobra.Command{
		Use:   "watch ID",
		Short: "Show the progress of an operation until it ends",
		Long: `Shows the progress of an operation from its beginning until it ends, and ends as
it does: exit code 0 when it succeeded. ID is the operation's, or its request's.
With -o json the operation is printed when it has ended.`,
		Example: "  pgforeman operation watch $(pgforeman cluster create orders --detach)",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				op, err := operationOf(ctx, p, args[0])
				target := client.Target{OperationID: op.ID, Cluster: op.Cluster}
				if client.IsNotFound(err) {
					// Just published, and not taken yet; or rejected.
					target, err = f.unseen(ctx, p, args[0], err)
				}
				if err != nil {
					return err
				}
				if !jobs.IsName(target.Cluster) {
					target.Cluster = "" // a control operation of an unreadable message
				}
				ended, err := f.follow(ctx, p, target, f.display(c, p))
				if err != nil {
					return err
				}
				return f.finish(ctx, c, p, ended, jobs.OperationSucceededEv, func() error {
					_, err := fmt.Fprintln(c.OutOrStdout(), clean(ended.end.Data.Message))
					return err
				})
			})
		},
	}
}

// unseenFor is how long a request is looked for before it is not found.
const unseenFor = 5 * time.Second

// unseen looks in the events for a request that is no operation: one that a
// worker takes just now, or that was rejected. Else the error is notFound.
func (f *front) unseen(ctx context.Context, p portal, id string, notFound error) (client.Target, error) {
	limited, cancel := context.WithTimeout(ctx, unseenFor)
	defer cancel()
	for e, err := range p.Watch(limited, client.Target{RequestID: id}) {
		switch {
		case err == nil:
			return client.Target{RequestID: id, Cluster: e.Data.Cluster}, nil
		case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
			return client.Target{}, notFound
		default:
			return client.Target{}, err
		}
	}
	return client.Target{}, notFound
}

func operationCancelCommand(f *front) *cobra.Command {
	var flags requestFlags
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel an operation, and undo what it made",
		Long: `Cancels an operation. One that waits ends at once; a cluster.create that runs is
undone: what it made is removed. What cannot be turned back is refused with
too_late. ID is the operation's, or its request's. Asks on a terminal; a script
need not say --yes. Waits until the operation is cancelled, not only asked to.`,
		Example: "  pgforeman operation cancel 0192f0c4-… --reason \"wrong size\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				op, err := operationOf(ctx, p, args[0])
				if err != nil {
					return err
				}
				what := fmt.Sprintf("cancel %s of cluster %s (operation %s) and undo what it made", op.Kind, clean(op.Cluster), op.ID)
				if err := confirm(c, yes || !interactive(c), what); err != nil {
					return err
				}
				return f.control(ctx, c, p, control{
					kind: jobs.OperationCancel, spec: jobs.ControlSpec{OperationID: op.ID, Reason: reason},
					target: op, want: jobs.OperationCancelledEv, done: "operation " + op.ID + " is cancelled",
				}, flags)
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return c
}
