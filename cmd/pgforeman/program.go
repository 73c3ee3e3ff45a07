package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/worker"
	"github.com/vcs-iaas/pgforeman/worker/httpd"
	"github.com/vcs-iaas/pgforeman/worker/query"
)

// programOptions are what a worker's process is made of.
type programOptions struct {
	Instance       string
	WorkerName     string // host name and process id when empty
	DSN            string
	Keys           *store.Keyring
	KeysNow        <-chan os.Signal // says to read the key file again at once; nil for never
	Quotas         jobs.Quotas
	MaxConns       int
	NATS           *nats.Conn
	NATSIdentity   bool // see query.Options.TrustRequestInfo
	DockerHost     string
	HTTPAddr       string
	Concurrency    int
	TenantLimit    int
	StreamReplicas int
	Grace          time.Duration // see worker.Options.Grace
	Pace           paceSettings
	Log            zerolog.Logger
}

// queryConns bounds the connections to the state database for questions.
const queryConns = 4

// runProgram wires a worker and runs it until ctx ends: the store, the Engine,
// the catalogue that works with both, the engine that runs the catalogue's
// steps, the query service and HTTP.
func runProgram(ctx context.Context, o programOptions) error {
	name, err := workerName(o.WorkerName)
	if err != nil {
		return err
	}
	settings := store.Options{DSN: o.DSN, Keyring: o.Keys, Quotas: o.Quotas, MaxConns: o.MaxConns, Instance: o.Instance}
	db, err := store.Open(ctx, settings)
	if err != nil {
		return err
	}
	defer db.Close()
	// Questions have connections of their own: many slow ones wait for each other,
	// and no step waits for them.
	settings.MaxConns = queryConns
	asked, err := store.Open(ctx, settings)
	if err != nil {
		return err
	}
	defer asked.Close()
	if err := checkKeys(ctx, db, o.Log); err != nil {
		return err
	}

	engine, err := docker.Open(docker.Options{Host: o.DockerHost, Instance: o.Instance, Log: o.Log, Transport: failpointsDocker()})
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()

	dockerProbe := worker.NewProbe("docker", engine.Ping)
	catalogue, err := cluster.New(cluster.Deps{
		Engine: heardEngine{engine, dockerProbe}, State: withFailpointsState(db), Log: o.Log, Change: failpointsParts(),
	})
	if err != nil {
		return err
	}

	w, err := worker.New(worker.Options{
		Name: name, Instance: o.Instance, Concurrency: o.Concurrency, PerTenant: o.TenantLimit,
		Kinds: catalogue.Kinds(), Steps: catalogue.Steps(), Store: withFailpointsStore(db), NATS: o.NATS, Replicas: o.StreamReplicas,
		Log: o.Log, Retention: o.Pace.Retention, StallLimit: o.Pace.StallLimit, Grace: o.Grace,
		Probes: []*worker.Probe{dockerProbe},
		Chores: []worker.Chore{{Name: "keeper", Run: catalogue.Keeper}, {Name: "reaper", Run: catalogue.Reaper}},
	})
	if err != nil {
		return err
	}

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, dependency := range w.Ready() {
		metrics.MustRegister(upGauge(dependency.Name, w.Ready))
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	part := func(run func(context.Context) error) {
		g.Go(func() error {
			defer stop() // one part that ends ends all
			return run(running)
		})
	}
	part(w.Run)
	part(func(ctx context.Context) error {
		o.Keys.Follow(ctx, o.KeysNow, func(err error) {
			if err != nil {
				o.Log.Error().Err(err).Msg("key file not read, the keys stay as they were")
				return
			}
			o.Log.Info().Str("key", o.Keys.First()).Strs("keys", o.Keys.IDs()).Msg("key file read")
			if err := checkKeys(ctx, db, o.Log); err != nil {
				o.Log.Error().Err(err).Msg("no secret opens")
			}
		})
		return nil
	})
	part(func(ctx context.Context) error {
		return query.Serve(ctx, query.Options{
			NATS: o.NATS, Store: withFailpointsQuery(asked), Inspector: catalogue, Vault: catalogue, Steps: catalogue.Steps(), Version: version,
			TrustRequestInfo: o.NATSIdentity, Log: o.Log,
		})
	})
	part(func(ctx context.Context) error {
		return httpd.Serve(ctx, httpd.Options{Addr: o.HTTPAddr, Checks: checksOf(w.Ready), Metrics: metrics})
	})
	err = g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// workerName is unique among workers, also after a restart of the same one: a
// process that comes back must not take the leases of the one before for its own.
func workerName(name string) (string, error) {
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("find the host's name; set PGFOREMAN_WORKER_NAME: %w", err)
		}
		name = host
	}
	return fmt.Sprintf("%s-%d-%x", name, os.Getpid(), time.Now().UnixNano()&0xffffff), nil
}

func checksOf(ready func() []worker.Dependency) func() []httpd.Check {
	return func() []httpd.Check {
		var checks []httpd.Check
		for _, d := range ready() {
			checks = append(checks, httpd.Check{Name: d.Name, OK: d.OK, Error: d.Error, Since: d.Since})
		}
		return checks
	}
}

// upGauge is 1 while a dependency of the worker answers.
func upGauge(dependency string, ready func() []worker.Dependency) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pgforeman_dependency_up", Help: "1 while the dependency answers.",
		ConstLabels: prometheus.Labels{"dependency": dependency},
	}, func() float64 {
		for _, d := range ready() {
			if d.Name == dependency && d.OK {
				return 1
			}
		}
		return 0
	})
}
