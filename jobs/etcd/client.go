package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Endpoint is where one member is reached.
type Endpoint struct {
	// Address is host:port of a published port, e.g. 127.0.0.1:49153.
	Address string
	// ServerName is the name that the certificate must bear; empty means TLS.ServerName.
	ServerName string
	// TLS is nil for a member that speaks plain text.
	TLS *tls.Config
}

// Options say how to reach a cluster's etcd.
type Options struct {
	// Members are tried in order, beginning with the one that answered last.
	Members []Endpoint
	// User and Password log in; both empty while authentication is off.
	User     string
	Password string
	// TryTimeout bounds one call to one member, the login included; 0 means 5 s.
	TryTimeout time.Duration
}

const defaultTryTimeout = 5 * time.Second

// Client reaches the etcd of one cluster. It is safe for concurrent use.
type Client struct {
	members   []*member
	preferred atomic.Int64 // index of the member that answered last
	try       time.Duration
}

// Open prepares a client. It does no I/O; connections are made when needed and
// kept until Close.
func Open(opts Options) (*Client, error) {
	if len(opts.Members) == 0 {
		return nil, errors.New("open etcd client: no members given")
	}
	c := &Client{try: opts.TryTimeout}
	if c.try <= 0 {
		c.try = defaultTryTimeout
	}
	for _, endpoint := range opts.Members {
		if endpoint.Address == "" {
			return nil, errors.New("open etcd client: a member without an address")
		}
		c.members = append(c.members, &member{endpoint: endpoint, user: opts.User, password: opts.Password})
	}
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// do runs fn on one member after another until one gives an answer, good or
// bad. Its error is translated and names what was tried.
func (c *Client) do(ctx context.Context, what string, fn func(context.Context, *clientv3.Client) error) error {
	first := int(c.preferred.Load())
	var last error
	for i := range c.members {
		n := (first + i) % len(c.members)
		m := c.members[n]
		last = m.do(ctx, c.try, fn)
		if last == nil || !errors.Is(last, ErrUnavailable) {
			c.preferred.Store(int64(n))
			break
		}
		last = fmt.Errorf("member at %s: %w", m.endpoint.Address, last)
		if ctx.Err() != nil {
			break
		}
	}
	if last != nil {
		return fmt.Errorf("%s: %w", what, last)
	}
	return nil
}

// member is one member and, once it was needed, the connection to it.
type member struct {
	endpoint       Endpoint
	user, password string

	mu     sync.Mutex
	client *clientv3.Client
	cancel context.CancelFunc
}

func (m *member) do(ctx context.Context, timeout time.Duration, fn func(context.Context, *clientv3.Client) error) error {
	tryCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := m.connect(tryCtx, timeout)
	if err == nil {
		err = fn(tryCtx, client)
	}
	return translate(ctx, err)
}

// connect returns the connection, making it (and logging in) the first time.
func (m *member) connect(ctx context.Context, timeout time.Duration) (*clientv3.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != nil {
		return m.client, nil
	}
	// The SDK logs in inside New and takes no context for it, so the
	// connection's own context ends early when ctx does.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	client, err := clientv3.New(m.config(base, timeout))
	if err == nil && !stop() {
		err = errors.Join(ctx.Err(), client.Close())
	}
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	m.client, m.cancel = client, cancel
	return client, nil
}

func (m *member) config(ctx context.Context, timeout time.Duration) clientv3.Config {
	conf := clientv3.Config{
		Endpoints:            []string{m.endpoint.Address},
		Context:              ctx,
		Username:             m.user,
		Password:             m.password,
		DialTimeout:          timeout,
		DialKeepAliveTime:    10 * time.Second, // the least that gRPC allows
		DialKeepAliveTimeout: 5 * time.Second,
		PermitWithoutStream:  false,
		// Enough to get a new token after the old one ran out; trying again for
		// longer is the business of do and of the caller.
		MaxUnaryRetries: 3,
		Logger:          zap.NewNop(),
		DialOptions: []grpc.DialOption{
			// The default waits up to two minutes before it dials a dead member again.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: timeout,
			}),
			grpc.WithChainUnaryInterceptor(failFast),
			grpc.WithContextDialer(m.dial),
		},
	}
	if m.endpoint.TLS != nil {
		conf.TLS = m.endpoint.TLS.Clone()
		// gRPC verifies the certificate against the endpoint's host and overwrites
		// TLS.ServerName with it. So the endpoint is the name, and dial goes to the
		// address whatever the endpoint says.
		if name := cmp.Or(m.endpoint.ServerName, m.endpoint.TLS.ServerName); name != "" {
			conf.Endpoints = []string{name}
		}
	}
	return conf
}

func (m *member) dial(ctx context.Context, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", m.endpoint.Address)
}

// failFast undoes the SDK's choice to wait for a connection until the deadline:
// where a member refuses, the next one is asked at once.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(ctx, method, req, reply, cc, slices.Concat(opts, []grpc.CallOption{grpc.WaitForReady(false)})...)
}

func (m *member) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		return nil
	}
	err := m.client.Close()
	m.cancel()
	m.client, m.cancel = nil, nil
	// Close reports the end of its own context.
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
