package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// dialer is the probe of real clusters. It reaches parts through their published
// ports, and keeps connections for as long as they are used, since a login costs
// far more than a question.
type dialer struct {
	engine Engine
	// change is called around whatever is more than a question.
	change func(what string, change func() error) error
	mu     sync.Mutex
	kept   map[string]*kept // by cluster id, the worker's certificate and part
}

var _ probe = (*dialer)(nil)

func newDialer(e Engine, change func(what string, change func() error) error) *dialer {
	if change == nil {
		change = func(_ string, change func() error) error { return change() }
	}
	return &dialer{engine: e, change: change, kept: map[string]*kept{}}
}

// keepFor is how long an unused connection is kept.
const keepFor = 20 * time.Second

// kept is a connection that may be used again.
type kept struct {
	conn  any
	close func()
	used  time.Time
}

// connection gives the connection kept under the name, or makes one.
func connection[T any](d *dialer, name string, open func() (T, func(), error)) (T, error) {
	d.mu.Lock()
	d.closeIdle()
	if have, ok := d.kept[name]; ok {
		if conn, ok := have.conn.(T); ok {
			have.used = time.Now()
			d.mu.Unlock()
			return conn, nil
		}
	}
	d.mu.Unlock()
	conn, closer, err := open()
	if err != nil {
		return conn, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, ok := d.kept[name]; ok { // another attempt was faster
		if other, ok := have.conn.(T); ok {
			closer()
			return other, nil
		}
	}
	d.kept[name] = &kept{conn: conn, close: closer, used: time.Now()}
	return conn, nil
}

// drop closes a connection that failed: the container may have restarted, which
// changes its published ports.
func (d *dialer) drop(name string) {
	d.mu.Lock()
	have, ok := d.kept[name]
	delete(d.kept, name)
	d.mu.Unlock()
	if ok {
		have.close()
	}
}

// closeIdle is called with the lock held.
func (d *dialer) closeIdle() {
	for name, have := range d.kept {
		if time.Since(have.used) > keepFor {
			delete(d.kept, name)
			go have.close()
		}
	}
}

// errNotPublished says that a part's port cannot be reached now.
var errNotPublished = errors.New("its port is not published: the container does not run")

// address is where a part's port is reached now.
func (d *dialer) address(ctx context.Context, s site, part string, port int) (string, error) {
	box, err := d.engine.Container(ctx, s.container(part))
	if err != nil {
		return "", err
	}
	at, ok := box.Ports[port]
	if !ok || !box.Running() {
		return "", fmt.Errorf("reach %s: %w", part, errNotPublished)
	}
	return at.Addr(), nil
}

// tls is the worker's side of a connection to whoever bears serverName in a
// certificate of the cluster.
func (s site) tls(k keys, serverName string) (*tls.Config, error) {
	conf, err := pki.ClientTLS(k[caCert], k[certOf(workerName)], k[keyOf(workerName)], serverName)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of cluster %s: %w", s.Name, err)
	}
	return conf, nil
}

// published is where a proxy's port is reached.
func (s site) published(port int) string {
	return docker.HostPort{IP: s.dialAddress(), Port: port}.Addr()
}

// bounded limits one question, so that a part which hangs holds up no one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, questionTimeout)
}

const questionTimeout = 5 * time.Second

// scriptTimeout bounds a script in a container, on a busy machine too.
const scriptTimeout = 20 * time.Second
