package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

// workerSettings are the settings of "pgforeman worker", from the environment.
type workerSettings struct {
	NATSURL        string        `env:"PGFOREMAN_NATS_URL,required"`
	NATSCreds      string        `env:"PGFOREMAN_NATS_CREDS"`
	NATSNKey       string        `env:"PGFOREMAN_NATS_NKEY_FILE"`
	NATSCA         string        `env:"PGFOREMAN_NATS_CA"`
	NATSIdentity   bool          `env:"PGFOREMAN_NATS_IDENTITY" envDefault:"false"`
	KeyFile        string        `env:"PGFOREMAN_KEY_FILE,required"`
	Instance       string        `env:"PGFOREMAN_INSTANCE" envDefault:"default"`
	Name           string        `env:"PGFOREMAN_WORKER_NAME"`
	Concurrency    int           `env:"PGFOREMAN_CONCURRENCY" envDefault:"16"`
	TenantLimit    int           `env:"PGFOREMAN_TENANT_LIMIT" envDefault:"8"`
	MaxConns       int           `env:"PGFOREMAN_DATABASE_CONNECTIONS" envDefault:"10"`
	StreamReplicas int           `env:"PGFOREMAN_STREAM_REPLICAS" envDefault:"1"`
	HTTPAddr       string        `env:"PGFOREMAN_HTTP_ADDR" envDefault:"127.0.0.1:8480"`
	DockerHost     string        `env:"PGFOREMAN_DOCKER_HOST"`
	Grace          time.Duration `env:"PGFOREMAN_GRACE" envDefault:"20s"`
	LogLevel       string        `env:"PGFOREMAN_LOG_LEVEL" envDefault:"info"`
	MigrateAtStart bool          `env:"PGFOREMAN_MIGRATE" envDefault:"false"`
}

// databaseSettings say where the state database is: one of the two.
type databaseSettings struct {
	URL     string `env:"PGFOREMAN_DATABASE_URL"`
	URLFile string `env:"PGFOREMAN_DATABASE_URL_FILE"`
}

func newWorkerCommand(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "worker",
		Short: "Run a worker against your NATS and your Postgres",
		Long: `Runs a worker: it takes requests, carries them out, publishes what became of
them. Any number of them share the work; SIGTERM drains one. SIGHUP makes it read
the key file at once; it does so within seconds of a change.

Settings, from the environment:
  PGFOREMAN_NATS_URL           NATS server(s); required
  PGFOREMAN_NATS_CREDS         credentials file
  PGFOREMAN_NATS_NKEY_FILE     NKey seed file
  PGFOREMAN_NATS_CA            authority of the server's certificate
  PGFOREMAN_NATS_IDENTITY      every tenant has an account of its own, as with
                               deployments/nats: the audit has the NATS
                               identity of who reads credentials (false)
  PGFOREMAN_DATABASE_URL       state database; or
  PGFOREMAN_DATABASE_URL_FILE  a file that holds it
  PGFOREMAN_DATABASE_CONNECTIONS  at most so many for the work (10); six more
                                  serve leases and questions
  PGFOREMAN_KEY_FILE           key file (see: pgforeman key new); required
  PGFOREMAN_INSTANCE           marks all it makes on the Engine (default)
  PGFOREMAN_WORKER_NAME        its name (host name and process id)
  PGFOREMAN_CONCURRENCY        steps that this worker runs at the same time (16);
                               an operation belongs to no worker, so this is the
                               one limit of a worker
  PGFOREMAN_TENANT_LIMIT       a tenant's operations at the same time, over all
                               workers; give every worker the same (8)
  PGFOREMAN_GRACE              how long running steps may go on after SIGTERM
                               before they are handed over (20s)
  PGFOREMAN_STREAM_REPLICAS    replicas of the streams (1)
  PGFOREMAN_HTTP_ADDR          /healthz /readyz /metrics (127.0.0.1:8480)
  PGFOREMAN_DOCKER_HOST        Docker Engine (as DOCKER_HOST)
  PGFOREMAN_LOG_LEVEL          trace, debug, info, warn, error (info)
  PGFOREMAN_MIGRATE            bring the schema up to date at start (false)
` + paceHelp + quotaHelp,
		Example: "  pgforeman key new > key && chmod 400 key\n  PGFOREMAN_NATS_URL=nats://… PGFOREMAN_DATABASE_URL=postgres://… PGFOREMAN_KEY_FILE=key pgforeman worker",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, dsn, err := readWorkerSettings()
			if err != nil {
				return err
			}
			quotas, err := readQuotas()
			if err != nil {
				return err
			}
			pace, err := readPace()
			if err != nil {
				return err
			}
			log, err := newLog(s.LogLevel, os.Stderr)
			if err != nil {
				return err
			}
			keys, err := store.OpenKeyring(s.KeyFile)
			if err != nil {
				return err
			}
			if s.MigrateAtStart {
				if _, err := store.Migrate(c.Context(), dsn); err != nil {
					return err
				}
			}
			nc, err := connectWorker(s.NATSURL, natsIdentity{creds: s.NATSCreds, nkey: s.NATSNKey, ca: s.NATSCA}, log)
			if err != nil {
				return err
			}
			defer nc.Close()
			hangUp := make(chan os.Signal, 1)
			signal.Notify(hangUp, syscall.SIGHUP)
			defer signal.Stop(hangUp)
			return runProgram(c.Context(), programOptions{
				Instance: s.Instance, WorkerName: s.Name, DSN: dsn, Keys: keys, KeysNow: hangUp, Quotas: quotas, MaxConns: s.MaxConns, NATS: nc, NATSIdentity: s.NATSIdentity,
				DockerHost: s.DockerHost, HTTPAddr: s.HTTPAddr, Concurrency: s.Concurrency,
				TenantLimit: s.TenantLimit, StreamReplicas: s.StreamReplicas, Grace: s.Grace, Pace: pace, Log: log,
			})
		},
	}
}

// readWorkerSettings reads all settings and tells every fault at once.
func readWorkerSettings() (workerSettings, string, error) {
	var s workerSettings
	err := settingsError(env.Parse(&s))
	dsn, errDatabase := readDatabaseSettings()
	if all := errors.Join(err, errDatabase); all != nil {
		return s, "", withCode(exitUsage, fmt.Errorf("%w\nsee: pgforeman worker --help", all))
	}
	return s, dsn, nil
}

// readDatabaseSettings gives the state database's connection string.
func readDatabaseSettings() (string, error) {
	var s databaseSettings
	if err := settingsError(env.Parse(&s)); err != nil {
		return "", withCode(exitUsage, err)
	}
	switch {
	case s.URL != "":
		return s.URL, nil
	case s.URLFile != "":
		raw, err := os.ReadFile(s.URLFile)
		if err != nil {
			return "", withCode(exitUsage, fmt.Errorf("read PGFOREMAN_DATABASE_URL_FILE: %w", err))
		}
		return strings.TrimSpace(string(raw)), nil
	}
	return "", withCode(exitUsage, errors.New("set PGFOREMAN_DATABASE_URL, or PGFOREMAN_DATABASE_URL_FILE to a file that holds it"))
}

// settingsError tells faults in the environment one a line.
func settingsError(err error) error {
	var many env.AggregateError
	if !errors.As(err, &many) {
		return err
	}
	lines := make([]error, len(many.Errors))
	for i, e := range many.Errors {
		lines[i] = fmt.Errorf("settings: %w", e)
	}
	return errors.Join(lines...)
}
