package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func clusterCreateCommand(f *front) *cobra.Command {
	var flags requestFlags
	var spec specFlags
	c := &cobra.Command{
		Use:   "create NAME | create [NAME] -f FILE",
		Short: "Create a cluster",
		Long: `Creates a cluster and waits until it is ready. What no flag says has the defaults
of the contract. The specification can be a JSON file instead (-f FILE, - for
standard input): the data of a cluster.create request, as "cluster show -o json"
has it under spec.

With -o json the operation is printed when it has ended.`,
		Example: `  pgforeman cluster create orders
  pgforeman cluster create small --nodes 1 --etcd-members 1 --memory-mb 512
  pgforeman cluster create shop --user shop --database shopdb:shop --parameter work_mem=8MB
  pgforeman cluster create -f orders.json --detach`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, data, err := spec.read(c, args)
			if err != nil {
				return f.explain(err)
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				request := client.Request{Kind: jobs.ClusterCreate, Cluster: name, Data: data}
				ended, err := f.submit(ctx, c, p, request, flags)
				if err != nil || ended == nil {
					return err
				}
				return f.finish(ctx, c, p, ended, jobs.OperationSucceededEv, func() error {
					return f.drawReady(c.OutOrStdout(), name, ended.endpoints)
				})
			})
		},
	}
	spec.add(c)
	flags.add(c)
	return c
}

// read gives the request's name and data, from the flags or from the file.
// What the flags say is checked before it is sent: all faults at once, with no
// connection. A file may be of a later version, so it is left to the worker.
func (s *specFlags) read(c *cobra.Command, args []string) (name string, data json.RawMessage, err error) {
	if len(args) == 1 {
		name = args[0]
	}
	if s.file != "" {
		if flag := s.changed(c.Flags()); flag != "" {
			return "", nil, withCode(exitUsage, fmt.Errorf("--%s and -f exclude each other: say it in the file", flag))
		}
		return s.readFile(c.InOrStdin(), name)
	}
	if name == "" {
		return "", nil, withCode(exitUsage, fmt.Errorf("name the cluster, or give its specification with -f\nsee: %s --help", c.CommandPath()))
	}
	spec, faults := s.spec(c.Flags(), name)
	if data, err = json.Marshal(spec); err != nil {
		return "", nil, fmt.Errorf("write the specification: %w", err)
	}
	_, more := jobs.DecodeClusterSpec(jobs.Request{Kind: jobs.ClusterCreate, Cluster: name, Data: data})
	if faults = append(faults, more...); len(faults) > 0 {
		return "", nil, &jobs.Error{Code: jobs.CodeInvalid, Faults: faults}
	}
	return name, data, nil
}

// maxSpecFile bounds the file, in bytes: a larger request is not taken.
const maxSpecFile = jobs.MaxBody

func (s *specFlags) readFile(stdin io.Reader, name string) (string, json.RawMessage, error) {
	from := stdin
	if s.file != "-" {
		file, err := os.Open(s.file)
		if err != nil {
			return "", nil, withCode(exitUsage, fmt.Errorf("read the specification: %w", err))
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxSpecFile+1))
	if err != nil {
		return "", nil, withCode(exitUsage, fmt.Errorf("read the specification: %w", err))
	}
	if len(raw) > maxSpecFile {
		return "", nil, withCode(exitUsage, fmt.Errorf("%s has more than %d bytes; that is no specification", s.file, maxSpecFile))
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return "", nil, withCode(exitUsage, fmt.Errorf("%s is not a JSON object: %w", s.file, err))
	}
	if name == "" && json.Unmarshal(object["name"], &name) != nil || name == "" {
		return "", nil, withCode(exitUsage, fmt.Errorf("%s has no name; name the cluster there, or before -f", s.file))
	}
	return name, raw, nil
}
