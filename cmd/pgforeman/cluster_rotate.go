package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func clusterRotateCommand(f *front) *cobra.Command {
	var flags requestFlags
	var spec jobs.RotateSpec
	c := &cobra.Command{
		Use:   "rotate NAME --certificates",
		Short: "Give a cluster new certificates while it works",
		Long: `Issues a new key and certificate for every part of a cluster and for the worker,
by the cluster's own authority, and lets the parts take them over without a
restart: no connection is cut, and what clients trust (cluster credentials --ca)
stays as it is. A part that is down gets the files and is waited for.
Certificates live a year; with less than a third of it left pgforeman rotates
them by itself. With -o json the operation is printed when it has ended.`,
		Example: "  pgforeman cluster rotate orders --certificates\n  pgforeman cluster rotate orders --certificates --detach",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if !spec.Certificates {
				return withCode(exitUsage, errors.New("say what to rotate: --certificates"))
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				request := client.Request{Kind: jobs.ClusterRotate, Cluster: name, Data: spec}
				ended, err := f.submit(ctx, c, p, request, flags)
				if err != nil || ended == nil {
					return err
				}
				return f.finish(ctx, c, p, ended, jobs.OperationSucceededEv, func() error {
					_, err := fmt.Fprintf(c.OutOrStdout(), "cluster %s has new certificates\n", clean(name))
					return err
				})
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&spec.Certificates, "certificates", false, "new keys and certificates for every part")
	return c
}
