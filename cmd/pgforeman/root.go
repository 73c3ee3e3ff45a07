package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
)

// globals are the flags that every command knows.
type globals struct {
	server string
	creds  string
	nkey   string
	ca     string
	tenant string
	output string // table or json
}

// json tells whether the output is for scripts.
func (g *globals) json() bool { return g.output == "json" }

func newRootCommand() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "pgforeman",
		Short: "Build and keep PostgreSQL high-availability clusters",
		Long: `pgforeman builds and keeps PostgreSQL high-availability clusters: Patroni, etcd
and HAProxy in Docker containers, from requests over NATS JetStream.

Begin with "pgforeman dev", which runs everything in one process, and create a
cluster from a second terminal with "pgforeman cluster create".

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 no connection.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if g.output != "table" && g.output != "json" {
				return withCode(exitUsage, fmt.Errorf("-o %s: the output is table or json", g.output))
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return withCode(exitUsage, fmt.Errorf("%w\nsee: %s --help", err, c.CommandPath()))
	})
	f := root.PersistentFlags()
	f.StringVar(&g.server, "server", fromEnv("NATS_URL", nats.DefaultURL), "NATS server, or several with commas ($NATS_URL)")
	f.StringVar(&g.creds, "creds", os.Getenv("NATS_CREDS"), "NATS credentials file, or NKey seed file ($NATS_CREDS)")
	f.StringVar(&g.nkey, "nkey", os.Getenv("NATS_NKEY"), "NATS NKey seed file ($NATS_NKEY)")
	f.StringVar(&g.ca, "nats-ca", os.Getenv("NATS_CA"), "file with the authority of the NATS server's certificate ($NATS_CA)")
	f.StringVar(&g.tenant, "tenant", fromEnv("PGFOREMAN_TENANT", "default"), "tenant to act for ($PGFOREMAN_TENANT)")
	f.StringVarP(&g.output, "output", "o", "table", "output: table, or json for scripts")
	root.AddCommand(commands(g)...)
	root.AddCommand(failpointCommands()...)
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments of every command end with the usage code.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return withCode(exitUsage, fmt.Errorf("%w\nsee: %s --help", err, c.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// fromEnv is a setting of the environment, or its default.
func fromEnv(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
