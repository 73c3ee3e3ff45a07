package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func TestExitCodes(t *testing.T) {
	refusedWith := func(e *jobs.Error) func(client.Target) ([]jobs.Event, error) {
		return func(client.Target) ([]jobs.Event, error) { return rejected(e), nil }
	}
	for name, c := range map[string]struct {
		args  []string
		watch func(client.Target) ([]jobs.Event, error)
		code  int
		says  []string
	}{
		"unknown cluster":     {args: []string{"cluster", "show", "nope"}, code: exitNotFound, says: []string{"unknown_cluster: ", "pgforeman cluster list"}},
		"credentials of none": {args: []string{"cluster", "credentials", "nope"}, code: exitNotFound, says: []string{"unknown_cluster"}},
		"wrong flag":          {args: []string{"cluster", "list", "--colour"}, code: exitUsage},
		"wrong arguments":     {args: []string{"cluster", "show"}, code: exitUsage},
		"every fault of the flags": {
			args: []string{"cluster", "create", "UPPER", "--nodes", "77", "--parameter", "x", "--cpus", "NaN"}, code: exitUsage,
			says: []string{"invalid_request: 4 faults\n", "\n  name: ", "\n  nodes: is 77", "\n  parameters: ", "\n  cpus: "},
		},
		"failed": {
			args:  []string{"cluster", "create", "orders"},
			watch: func(client.Target) ([]jobs.Event, error) { return broken(), nil }, code: exitFailed,
			says: []string{"port_taken: host port 5432 is in use by another program\n", "pgforeman dead show " + opID, "dead replay", "dead discard"},
		},
		"failed because of a cluster that is gone": {
			args: []string{"cluster", "create", "orders"},
			watch: func(client.Target) ([]jobs.Event, error) {
				r := &recording{kind: jobs.ClusterCreate}
				return r.tell(jobs.OperationCancelledEv, "cancelled", failed(jobs.CodeUnknownCluster, "it was deleted")).events, nil
			}, code: exitFailed, says: []string{"pgforeman operation show " + opID},
		},
		"name taken": {
			args: []string{"cluster", "create", "orders"}, watch: refusedWith(&jobs.Error{Code: jobs.CodeNameTaken, Message: "orders exists"}),
			code: exitFailed, says: []string{"name_taken: orders exists\n", "pgforeman cluster list"},
		},
		"faults": {
			args:  []string{"cluster", "create", "orders"},
			watch: refusedWith(&jobs.Error{Code: jobs.CodeInvalid, Faults: jobs.Faults{{Field: "nodes", Message: "is\x1b[2J 0"}, {Message: "too big"}}}),
			code:  exitUsage, says: []string{"invalid_request: 2 faults\n  nodes: is\uFFFD[2J 0\n  too big\n"},
		},
		"delete what is not there": {
			args: []string{"cluster", "delete", "nope", "--yes"}, watch: refusedWith(&jobs.Error{Code: jobs.CodeUnknownCluster, Message: "none"}), code: exitNotFound,
		},
		"interrupted": {
			args:  []string{"cluster", "create", "orders"},
			watch: func(client.Target) ([]jobs.Event, error) { return creation().events, context.Canceled },
			code:  exitFailed, says: []string{"interrupted", "goes on", "pgforeman operation watch " + opID},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := answering()
			p.watch = c.watch
			r := run(t, p, c.args...)
			require.Equal(t, c.code, r.code, r.stderr)
			for _, s := range c.says {
				require.Contains(t, r.stderr, s)
			}
			require.Empty(t, r.stdout)
		})
	}
}

func TestNoConnection(t *testing.T) {
	for _, err := range []error{client.ErrNoConnection, client.ErrNoStream, client.ErrNoWorker} {
		p := &fakePortal{query: func(string, jobs.Query) (any, error) { return nil, fmt.Errorf("ask: %w", err) }}
		require.Equal(t, exitNoConnection, run(t, p, "cluster", "list").code, "%v", err)
	}
	p := &fakePortal{query: func(string, jobs.Query) (any, error) { return nil, client.ErrRefused }}
	require.Equal(t, exitFailed, run(t, p, "cluster", "list").code)
}

// TestRealRoot runs the program's own commands where nothing answers.
func TestRealRoot(t *testing.T) {
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitNoConnection, []string{"cluster", "list"}},
		{exitNoConnection, []string{"cluster", "credentials", "orders", "--ca"}},
		{exitNoConnection, []string{"dead", "discard", "x", "--yes"}},
		{exitUsage, []string{"cluster", "list", "--tenant", "Not_A_Name"}},
		{exitUsage, []string{"cluster", "list", "--creds", "/does/not/exist"}},
		{exitUsage, []string{"operation", "list", "--state", "lost"}},
		{exitUsage, []string{"operation", "list", "--limit", "0"}},
		{exitUsage, []string{"events", "--cluster", "a.b"}},
		{exitUsage, []string{"cluster", "list", "-o", "yaml"}},
		{exitNotFound, []string{"schema", "nope"}},
		{0, []string{"schema", "asyncapi"}},
		{0, []string{"completion", "bash"}},
	} {
		root := newRootCommand()
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		root.SetArgs(append(c.args, "--server", "nats://127.0.0.1:1"))
		err := root.ExecuteContext(t.Context())
		if c.code == 0 {
			require.NoError(t, err, "%v", c.args)
			continue
		}
		require.Error(t, err, "%v", c.args)
		require.Equal(t, c.code, exitCode(err), "%v: %v", c.args, err)
	}
}

func TestExplainKeepsOtherErrors(t *testing.T) {
	f := &front{globals: &globals{}}
	err := errors.New("disk full")
	require.Equal(t, err, f.explain(err))
	require.NoError(t, f.explain(nil))
}
