package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func newDeadCommand(g *globals) *cobra.Command { return deadCommand(newFront(g)) }

// deadCommand is "pgforeman dead" and all below it.
func deadCommand(f *front) *cobra.Command {
	c := &cobra.Command{
		Use:   "dead",
		Short: "Look at dead letters, replay or discard them",
		Long: `Dead letters are what needs a person: operations that failed, and messages that
are no requests. Each is replayed, once its cause is mended, or discarded.`,
	}
	c.AddCommand(deadListCommand(f), deadShowCommand(f), deadReplayCommand(f), deadDiscardCommand(f))
	return c
}

func deadListCommand(f *front) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the dead letters that are open",
		Example: "  pgforeman dead list\n  pgforeman dead list -o json | jq -r '.[].id'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				letters := []jobs.DeadLetterView{}
				if err := p.Query(ctx, jobs.QueryDeadList, jobs.Query{All: all, Limit: mostRows}, &letters); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), letters, drawDeadLetters)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that were replayed or discarded too")
	return c
}

func deadShowCommand(f *front) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter: what failed where, every attempt, the message, what to do",
		Long: `Shows a dead letter: what failed and where, every attempt, the original message,
and what to do. ID is the dead letter's, or its operation's.`,
		Example: "  pgforeman dead show 0192f0c4-…\n  pgforeman dead show 0192f0c4-… -o json | jq -r .original | base64 -d",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				letter, err := deadLetterOf(ctx, p, args[0])
				if err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), letter, f.drawDeadLetter)
			})
		},
	}
}

// deadLetterOf finds a dead letter by its id or its operation's; a large
// original comes in parts.
func deadLetterOf(ctx context.Context, p portal, id string) (jobs.DeadLetter, error) {
	var letter jobs.DeadLetter
	err := p.Query(ctx, jobs.QueryDeadGet, jobs.Query{ID: id}, &letter)
	for err == nil && len(letter.Original) < letter.OriginalSize {
		var more jobs.DeadLetter
		err = p.Query(ctx, jobs.QueryDeadGet, jobs.Query{ID: id, Offset: len(letter.Original)}, &more)
		if err == nil && len(more.Original) == 0 {
			return letter, fmt.Errorf("dead letter %s: its original ends after %d of %d bytes", id, len(letter.Original), letter.OriginalSize)
		}
		letter.Original = append(letter.Original, more.Original...)
	}
	return letter, err
}

func deadReplayCommand(f *front) *cobra.Command {
	var flags requestFlags
	var reason string
	c := &cobra.Command{
		Use:   "replay ID",
		Short: "Replay a dead letter, once its cause is mended",
		Long: `Replays a dead letter: a failed operation goes on from the step that failed, what
succeeded is not done again; a message that no worker knew is taken in. Waits for
the end of the operation: exit code 1 when it fails again. ID is the dead
letter's, or its operation's.`,
		Example: "  pgforeman dead replay 0192f0c4-…",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				letter, target, err := deadTarget(ctx, p, args[0])
				if err != nil {
					return err
				}
				r := control{
					kind: jobs.OperationReplay, spec: jobs.ControlSpec{DeadLetterID: letter.ID, Reason: reason},
					target: target, want: jobs.OperationSucceededEv, done: "operation " + target.ID + " has succeeded",
				}
				if target.ID == "" {
					r.done = "the message was taken in; its own events tell what becomes of it"
				}
				return f.control(ctx, c, p, r, flags)
			})
		},
	}
	flags.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return c
}

func deadDiscardCommand(f *front) *cobra.Command {
	var flags requestFlags
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "discard ID",
		Short: "Discard a dead letter, and remove what its operation made",
		Long: `Discards a dead letter: nobody is asked about it again, and what its operation
made is removed. Waits until that is done. Asks on a terminal; elsewhere --yes
has to say it. ID is the dead letter's, or its operation's.`,
		Example: "  pgforeman dead discard 0192f0c4-… --yes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				letter, target, err := deadTarget(ctx, p, args[0])
				if err != nil {
					return err
				}
				r := control{
					kind: jobs.OperationDiscard, spec: jobs.ControlSpec{DeadLetterID: letter.ID, Reason: reason},
					target: target, want: jobs.OperationCancelledEv, done: "dead letter " + letter.ID + " is discarded",
				}
				what := "discard the message of dead letter " + letter.ID
				if target.ID != "" {
					what = fmt.Sprintf("give up %s of cluster %s (operation %s) and remove what it made", target.Kind, clean(target.Cluster), target.ID)
				}
				if err := confirm(c, yes, what); err != nil {
					return err
				}
				return f.control(ctx, c, p, r, flags)
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit")
	return c
}

// deadTarget finds a dead letter and the operation that it is about; the
// operation has no id where the letter is an unreadable message.
func deadTarget(ctx context.Context, p portal, id string) (jobs.DeadLetter, jobs.OperationView, error) {
	letter, err := deadLetterOf(ctx, p, id)
	if err != nil || letter.OperationID == "" {
		return letter, jobs.OperationView{}, err
	}
	op, err := operationOf(ctx, p, letter.OperationID)
	return letter, op, err
}
