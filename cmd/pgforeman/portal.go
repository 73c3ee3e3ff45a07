package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os/user"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// portal is all that the commands of a portal know of pgforeman. *client.Client
// is one.
type portal interface {
	Publish(ctx context.Context, r client.Request) (client.Receipt, error)
	Watch(ctx context.Context, t client.Target) iter.Seq2[jobs.Event, error]
	Events(ctx context.Context, f client.EventFilter) iter.Seq2[jobs.Event, error]
	Query(ctx context.Context, what string, q jobs.Query, into any) error
	Credentials(ctx context.Context, cluster, user string) (jobs.Credentials, error)
	Close()
}

// front is what the portal's commands share: the global flags, and the way to
// a connection.
type front struct {
	*globals
	connect func(ctx context.Context) (portal, error)
}

// newFront is the front that connects as the flags say.
func newFront(g *globals) *front {
	return &front{globals: g, connect: func(ctx context.Context) (portal, error) {
		if !jobs.IsName(g.tenant) {
			return nil, withCode(exitUsage, fmt.Errorf("--tenant %q is not a DNS label of at most 40 characters", g.tenant))
		}
		c, err := client.Connect(ctx, client.Options{
			URL: g.server, Creds: g.creds, NKey: g.nkey, CA: g.ca, Tenant: g.tenant,
			Name: "pgforeman cli", Source: "pgforeman-cli/" + userName(),
		})
		switch {
		case errors.Is(err, client.ErrNoConnection):
			return nil, err
		case err != nil: // the flags are wrong
			return nil, withCode(exitUsage, err)
		}
		return c, nil
	}}
}

// userName says for the audit who sits at the command line; it proves nothing.
func userName() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "unknown"
	}
	return u.Username
}

// with runs do on a connection, and puts its error into words for people.
func (f *front) with(c *cobra.Command, do func(ctx context.Context, p portal) error) error {
	ctx := c.Context()
	p, err := f.connect(ctx)
	if err != nil {
		return f.explain(err)
	}
	defer p.Close()
	return f.explain(do(ctx, p))
}

// printed is a query's answer: as JSON for scripts, else as table draws it.
func printed[T any](f *front, out io.Writer, answer T, table func(io.Writer, T) error) error {
	if f.json() {
		return printJSON(out, answer)
	}
	return table(out, answer)
}

// printJSON writes a value for scripts: indented, with & and < as they are.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// command is a command line to type next, for the same tenant.
func (f *front) command(format string, args ...any) string {
	line := "pgforeman " + fmt.Sprintf(format, args...)
	if f.tenant != fromEnv("PGFOREMAN_TENANT", "default") {
		line += " --tenant " + f.tenant
	}
	if f.server != fromEnv("NATS_URL", nats.DefaultURL) && !strings.Contains(f.server, "@") { // a password may be before the @
		line += " --server " + f.server
	}
	return line
}
