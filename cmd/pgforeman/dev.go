package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/store"
)

// devOptions are the flags of "pgforeman dev".
type devOptions struct {
	stateDir string
	natsAddr string
	httpAddr string
	logLevel string
	detach   bool
}

func newDevCommand(g *globals) *cobra.Command {
	o := &devOptions{}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process, for development and trying out",
		Long: `Runs the whole of pgforeman in one process: JetStream embedded, the state
database as a container, one worker, HTTP. What it keeps is below --state-dir
(the state database's data in a Docker volume). It may be stopped or killed at
any time and goes on where it was; clusters run on meanwhile. Several run side
by side with other folders and addresses. It listens on loopback only.
` + paceHelp + quotaHelp,
		Example: `  pgforeman dev                       # in the foreground, Ctrl-C stops it
  pgforeman dev --detach              # in the background
  pgforeman dev stop                  # stops it; clusters keep running
  pgforeman dev down                  # removes it with all its clusters`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.detach {
				return devDetach(c.Context(), o, c.OutOrStdout())
			}
			return runDev(c.Context(), o, c.ErrOrStderr())
		},
	}
	f := c.PersistentFlags()
	f.StringVar(&o.stateDir, "state-dir", fromEnv("PGFOREMAN_STATE_DIR", ".pgforeman"), "folder of its state (default $PGFOREMAN_STATE_DIR)")
	f = c.Flags()
	f.StringVar(&o.natsAddr, "nats-addr", "127.0.0.1:4222", "where NATS listens")
	f.StringVar(&o.httpAddr, "http-addr", "127.0.0.1:8480", "where /healthz, /readyz and /metrics are")
	f.StringVar(&o.logLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&o.detach, "detach", false, "run in the background; the log goes to STATE-DIR/dev.log")
	c.AddCommand(newDevStopCommand(o), newDevDownCommand(o), newDevStatusCommand(o, g))
	return c
}

// runDev starts the parts in the order in which they need each other, and ends
// them in the other.
func runDev(ctx context.Context, o *devOptions, out io.Writer) error {
	if err := loopbackOnly(o.natsAddr, o.httpAddr); err != nil {
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
	log, err := newLog(o.logLevel, out)
	if err != nil {
		return err
	}
	state, err := openDevState(o.stateDir)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := state.announce(o.natsAddr, o.httpAddr); err != nil {
		return err
	}
	engine, err := docker.Open(docker.Options{Instance: state.Instance, Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()
	if missing, err := engine.MissingImages(ctx); err != nil {
		return fmt.Errorf("%w\nis Docker running, and may you use it? see: pgforeman doctor", err)
	} else if len(missing) > 0 {
		if err := buildImages(ctx, engine, out); err != nil {
			return err
		}
	}
	ns, err := startNATS(o.natsAddr, filepath.Join(state.Dir, "nats"))
	if err != nil {
		return err
	}
	defer func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	}()
	dsn, err := startStateDatabase(ctx, engine, state)
	if err != nil {
		return err
	}
	keys, err := store.OpenKeyring(state.KeyFile)
	if err != nil {
		return err
	}
	nc, err := connectWorker(ns.ClientURL(), natsIdentity{}, log)
	if err != nil {
		return err
	}
	defer nc.Close()
	_, _ = fmt.Fprintf(out, "pgforeman dev: NATS at %s, HTTP at http://%s, state in %s\n  try: %s\n",
		ns.ClientURL(), o.httpAddr, state.Dir, createHint(o.natsAddr))
	return runProgram(ctx, programOptions{
		Instance: state.Instance, DSN: dsn, Keys: keys, Quotas: quotas, NATS: nc, HTTPAddr: o.httpAddr, Pace: pace, Log: log,
	})
}

// createHint is the next thing to do.
func createHint(natsAddr string) string {
	hint := "pgforeman cluster create demo"
	if natsAddr != "127.0.0.1:4222" {
		hint = "NATS_URL=nats://" + natsAddr + " " + hint
	}
	return hint
}

// startNATS runs a NATS server with JetStream on disk. Every write is flushed
// before it is acknowledged: what a portal was told is safe survives a power cut.
func startNATS(addr, dir string) (*server.Server, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(&server.Options{
		ServerName: "pgforeman-dev", Host: host, Port: port,
		JetStream: true, StoreDir: dir, SyncAlways: true, DisableJetStreamBanner: true,
		NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, fmt.Errorf("configure the embedded NATS server: %w", err)
	}
	if err := listenable(addr); err != nil {
		return nil, fmt.Errorf("NATS cannot listen on %s: %w\nchoose another address with --nats-addr", addr, err)
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		ns.Shutdown()
		return nil, fmt.Errorf("the embedded NATS server on %s is not ready after 30 s; is its folder %s damaged?", addr, dir)
	}
	return ns, nil
}

// newLog makes the program's log: lines for people on a terminal, JSON elsewhere.
func newLog(level string, out io.Writer) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		return zerolog.Nop(), withCode(exitUsage, fmt.Errorf("log level %q: use trace, debug, info, warn or error", level))
	}
	if f, ok := out.(*os.File); ok && isTerminal(f) {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(out).Level(l).With().Timestamp().Logger(), nil
}

var errNotLoopback = errors.New("dev listens on loopback only; for anything else run \"pgforeman worker\" with a NATS server of your own")
