package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func newClusterCommand(g *globals) *cobra.Command { return clusterCommand(newFront(g)) }

// clusterCommand is "pgforeman cluster" and all below it.
func clusterCommand(f *front) *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Create, look at, look after and delete clusters"}
	c.AddCommand(
		clusterCreateCommand(f), clusterListCommand(f), clusterShowCommand(f), clusterStatusCommand(f),
		clusterCredentialsCommand(f), clusterRotateCommand(f), clusterDeleteCommand(f),
	)
	return c
}

// mostRows is how many rows a list has unless --limit says less: as many as the
// contract gives.
const mostRows = 1000

func clusterListCommand(f *front) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the tenant's clusters",
		Example: "  pgforeman cluster list\n  pgforeman cluster list -o json | jq -r '.[].name'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				clusters := []jobs.ClusterView{}
				if err := p.Query(ctx, jobs.QueryClusterList, jobs.Query{All: all, Limit: mostRows}, &clusters); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), clusters, f.drawClusters)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "deleted clusters too")
	return c
}

func clusterShowCommand(f *front) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a cluster as it was last recorded: state, specification, nodes, endpoints",
		Example: "  pgforeman cluster show orders\n  pgforeman cluster show orders -o json | jq -r .endpoints.primary",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				var view jobs.ClusterView
				if err := p.Query(ctx, jobs.QueryClusterGet, jobs.Query{Name: args[0]}, &view); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), view, f.drawCluster)
			})
		},
	}
}

func clusterStatusCommand(f *front) *cobra.Command {
	return &cobra.Command{
		Use:   "status NAME",
		Short: "Look at a cluster now: every container, replication, what is wrong",
		Long: `Looks at a cluster now. Nodes: role, state, timeline and lag as Patroni and the
leader tell them, the leader's pg_stat_replication of each replica (client_addr,
state, LSNs, sync_state) and the replica's own pg_stat_wal_receiver (status,
sender). Then the etcd members, the proxies, and what is not as it should be.`,
		Example: "  pgforeman cluster status orders\n  pgforeman cluster status orders -o json | jq .trouble",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				var view jobs.StatusView
				if err := p.Query(ctx, jobs.QueryStatus, jobs.Query{Name: args[0]}, &view); err != nil {
					return err
				}
				return printed(f, c.OutOrStdout(), view, drawStatus)
			})
		},
	}
}

func clusterCredentialsCommand(f *front) *cobra.Command {
	var userName string
	var ca bool
	c := &cobra.Command{
		Use:   "credentials NAME",
		Short: "Show how an application connects: user, password, URIs, authority",
		Long: `Shows how an application connects to a cluster. The answer travels sealed to a
key of this call's own, and each reading leaves a trace in the audit. --ca
prints nothing but the certificate of the cluster's authority; the authority of
the NATS server is then taken from $NATS_CA.`,
		Example: "  pgforeman cluster credentials orders\n  pgforeman cluster credentials orders --ca > orders-ca.pem\n" +
			"  pgforeman cluster credentials orders --user shop -o json | jq -r .primary_uri",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, p portal) error {
				creds, err := p.Credentials(ctx, args[0], userName)
				if err != nil {
					return err
				}
				if ca {
					_, err := io.WriteString(c.OutOrStdout(), creds.CAPEM)
					return err
				}
				return printed(f, c.OutOrStdout(), creds, func(out io.Writer, creds jobs.Credentials) error {
					return f.drawCredentials(out, args[0], creds)
				})
			})
		},
	}
	c.Flags().StringVar(&userName, "user", "", fmt.Sprintf("the login role (default %q)", jobs.AppUser))
	c.Flags().BoolVar(&ca, "ca", false, "print the authority's certificate (PEM) alone")
	return c
}

func clusterDeleteCommand(f *front) *cobra.Command {
	var flags requestFlags
	var yes bool
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a cluster: containers, network and all data",
		Long: `Deletes a cluster: its containers, its network and its volumes with all data.
Nothing of it can be brought back. Asks on a terminal; elsewhere --yes has to
say it. With -o json the operation is printed when it has ended.`,
		Example: "  pgforeman cluster delete orders\n  pgforeman cluster delete orders --yes --detach",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if err := confirm(c, yes, fmt.Sprintf("delete cluster %s and all its data", clean(name))); err != nil {
				return err
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				request := client.Request{Kind: jobs.ClusterDelete, Cluster: name, Data: jobs.DeleteSpec{}}
				ended, err := f.submit(ctx, c, p, request, flags)
				if err != nil || ended == nil {
					return err
				}
				return f.finish(ctx, c, p, ended, jobs.OperationSucceededEv, func() error {
					_, err := fmt.Fprintf(c.OutOrStdout(), "cluster %s is deleted\n", name)
					return err
				})
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
