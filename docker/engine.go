package docker

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"
	"github.com/rs/zerolog"
)

// Bounds of one call when its context allows longer. A healthy Engine answers in milliseconds; a machine under heavy
// load has been seen to take ten seconds for a container start.
const (
	callTimeout   = 60 * time.Second
	ensureTimeout = 120 * time.Second
)

// Options configures an Engine.
type Options struct {
	// Host is the Engine's address as in DOCKER_HOST (unix:///var/run/docker.sock, tcp://10.0.0.1:2376). Empty takes
	// DOCKER_HOST, DOCKER_CERT_PATH, DOCKER_TLS_VERIFY and DOCKER_API_VERSION from the environment.
	Host string
	// Instance names the pgforeman whose objects these are; it must not change as long as it has any. Required.
	Instance string
	// Log gets what is not returned as an error: reconnects of Watch, replacements, twins removed.
	Log zerolog.Logger
	// Transport, when set, is put around every request to the Engine: the place of failure points.
	Transport func(http.RoundTripper) http.RoundTripper
}

// Engine is a connection to one host's Docker Engine, on behalf of one pgforeman instance. It is safe for concurrent
// use.
type Engine struct {
	cli      *client.Client
	host     Host
	instance string
	log      zerolog.Logger

	negotiated  atomic.Bool
	negotiating chan struct{} // held by the one who negotiates
}

// Open prepares a connection. It does no I/O: whether the Engine answers is seen with Ping. The API version is
// negotiated at the first call; Engines from 20.10 (API 1.41) are known to work.
func Open(o Options) (*Engine, error) {
	if o.Instance == "" {
		return nil, fmt.Errorf("open docker engine: %w: no instance name given", ErrInvalid)
	}
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if o.Host != "" {
		opts = append(opts, client.WithHost(o.Host))
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err == nil && o.Transport != nil {
		around := cli.HTTPClient()
		around.Transport = o.Transport(around.Transport)
		cli, err = client.NewClientWithOpts(append(opts, client.WithHTTPClient(around))...)
	}
	if err != nil {
		return nil, fmt.Errorf("open docker engine: %w: %w (check DOCKER_HOST and the DOCKER_TLS settings)", ErrInvalid, err)
	}
	return &Engine{
		cli: cli, host: Local, instance: o.Instance, log: o.Log, negotiating: make(chan struct{}, 1),
	}, nil
}

// Close gives the idle connections back. Running calls are not interrupted.
func (e *Engine) Close() error { return e.cli.Close() }

// Host is the machine whose Engine this is.
func (e *Engine) Host() Host { return e.host }

// begin starts a call: it bounds its time and sees to it that the API version is negotiated. The context is valid, and
// its cancel to be called, also with an error.
func (e *Engine) begin(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc, error) {
	ctx, cancel := limit(ctx, d)
	return ctx, cancel, e.negotiate(ctx)
}

// negotiate agrees on the API version before the first other call. The SDK would do so by itself, but it writes the
// version under a lock that its readers do not hold, so first calls at the same time would race.
func (e *Engine) negotiate(ctx context.Context) error {
	if e.negotiated.Load() {
		return nil
	}
	select {
	case e.negotiating <- struct{}{}:
		defer func() { <-e.negotiating }()
	case <-ctx.Done():
		return explain(ctx, ctx.Err())
	}
	if e.negotiated.Load() {
		return nil
	}
	answer, err := e.cli.Ping(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	e.cli.NegotiateAPIVersionPing(answer)
	e.negotiated.Store(true)
	return nil
}

// Ping reports whether the Engine answers; ErrUnavailable when not.
func (e *Engine) Ping(ctx context.Context) error {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return fmt.Errorf("ping docker engine: %w", err)
	}
	if _, err := e.cli.Ping(ctx); err != nil {
		return fmt.Errorf("ping docker engine: %w", explain(ctx, err))
	}
	return nil
}

// Info is what the Engine says about itself and its machine.
type Info struct {
	Name          string // the machine's host name
	Version       string // of the Engine, like 20.10.24
	APIVersion    string // negotiated, like 1.41
	OS            string // like "Debian GNU/Linux 12 (bookworm)"
	Architecture  string // like x86_64
	Kernel        string
	Driver        string // storage driver, like overlay2
	CgroupVersion string // "1" or "2"
	MemoryTotal   int64  // bytes
	CPUs          int
	Rootless      bool
	// NetworkDrivers are those that networks can be made with, like bridge.
	NetworkDrivers []string
}

// Info asks the Engine about itself.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return Info{}, fmt.Errorf("ask docker engine for its info: %w", err)
	}
	i, err := e.cli.Info(ctx)
	if err != nil {
		return Info{}, fmt.Errorf("ask docker engine for its info: %w", explain(ctx, err))
	}
	info := Info{
		Name: i.Name, Version: i.ServerVersion, APIVersion: e.cli.ClientVersion(),
		OS: i.OperatingSystem, Architecture: i.Architecture, Kernel: i.KernelVersion,
		Driver: i.Driver, CgroupVersion: i.CgroupVersion, MemoryTotal: i.MemTotal, CPUs: i.NCPU,
		NetworkDrivers: i.Plugins.Network,
	}
	for _, opt := range i.SecurityOptions {
		info.Rootless = info.Rootless || opt == "name=rootless"
	}
	return info, nil
}
