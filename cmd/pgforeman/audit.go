package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func newAuditCommand(g *globals) *cobra.Command { return auditCommand(newFront(g)) }

// auditCommand is "pgforeman audit" and all below it.
func auditCommand(f *front) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "See who did what, when, and what became of it"}
	c.AddCommand(auditListCommand(f))
	return c
}

func auditListCommand(f *front) *cobra.Command {
	var q jobs.Query
	c := &cobra.Command{
		Use:   "list",
		Short: "List who asked for what, and what became of it, the newest first",
		Long: `Lists the audit of the tenant, the newest first: every request that was accepted
or rejected, every end of an operation, and every reading of credentials. Who
asked is what the NATS server says of the asker where it says anything
("nats:account/user"), else what the asker says of itself.`,
		Example: "  pgforeman audit list --cluster orders\n" +
			"  pgforeman audit list -o json | jq '.[] | select(.action == \"cluster.credentials\")'",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Limit < 1 || q.Limit > mostRows {
				return withCode(exitUsage, fmt.Errorf("--limit %d: 1 to %d rows are given", q.Limit, mostRows))
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				entries := []jobs.AuditView{}
				if err := p.Query(ctx, jobs.QueryAudit, q, &entries); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), entries, drawAudit)
			})
		},
	}
	c.Flags().StringVar(&q.Cluster, "cluster", "", "what is about one cluster")
	c.Flags().IntVar(&q.Limit, "limit", 100, fmt.Sprintf("at most so many, up to %d", mostRows))
	return c
}

func drawAudit(out io.Writer, entries []jobs.AuditView) error {
	t := newTable("AT", "WHO", "ACTION", "CLUSTER", "OUTCOME", "OPERATION", "DETAIL")
	for _, e := range entries {
		t.row(stamp(e.At), e.Actor, e.Action, e.Cluster, e.Outcome, e.OperationID, fit(e.Detail, mostReason))
	}
	return t.write(out, "Nothing was asked for yet.")
}
