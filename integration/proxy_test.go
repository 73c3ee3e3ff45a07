package integration

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a worker and one of its servers, so that a test can take
// the server away from that worker alone, in every way in which networks do.
type proxy struct {
	t       *testing.T
	network string // "tcp", "unix": of both sides
	addr    string // where it listens
	target  string

	mu     sync.Mutex
	mode   proxyMode
	thaw   chan struct{} // closed when a hang ends
	listen net.Listener
	links  map[*link]bool
	closed bool
}

// proxyMode is what the proxy does to connections.
type proxyMode int

const (
	proxyPasses proxyMode = iota
	// proxyRefuses: connections are cut, new ones are refused.
	proxyRefuses
	// proxyHangs: connections stay and take what is sent, but nothing comes out
	// until it is over; then everything goes on, as with a server that was
	// stopped and continued.
	proxyHangs
	// proxyVanishes: connections stay and take what is sent, and nothing ever
	// comes out of them again: half-open connections. Connections that are made
	// afterwards pass.
	proxyVanishes
)

// link is one connection through the proxy.
type link struct {
	worker, server net.Conn // server is nil until it is dialled
	dead           bool     // half open for good
}

// newProxy listens at addr ("127.0.0.1:0" for any port) and passes what comes in
// to target.
func newProxy(t *testing.T, network, addr, target string) *proxy {
	t.Helper()
	p := &proxy{t: t, network: network, addr: addr, target: target, links: map[*link]bool{}}
	p.open()
	t.Cleanup(p.close)
	return p
}

// open begins to listen, the first time or again at the same address.
func (p *proxy) open() {
	p.t.Helper()
	l, err := net.Listen(p.network, p.addr)
	require.NoError(p.t, err)
	p.addr = l.Addr().String()
	p.listen = l
	go p.accept(l)
}

func (p *proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		k := &link{worker: c}
		p.mu.Lock()
		if p.closed || p.mode == proxyRefuses {
			p.mu.Unlock()
			_ = c.Close()
			continue
		}
		k.dead = p.mode == proxyVanishes
		p.links[k] = true
		p.mu.Unlock()
		go p.serve(k)
	}
}

// serve passes both directions of a link.
func (p *proxy) serve(k *link) {
	if !p.may(k) {
		drain(k.worker)
		return
	}
	server, err := net.Dial(p.network, p.target)
	if err != nil {
		p.cut(k)
		return
	}
	p.mu.Lock()
	k.server = server
	gone := !p.links[k]
	p.mu.Unlock()
	if gone {
		_ = server.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(k, k.worker, server) })
	both.Go(func() { p.pump(k, server, k.worker) })
	both.Wait()
	if p.may(k) {
		p.cut(k)
	}
}

// pump passes one direction. The end of one side of a dead link is not told to
// the other: that is what half open means.
func (p *proxy) pump(k *link, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.may(k) {
			drain(from)
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // it may be closed
	}
}

// may waits while the proxy hangs, and tells whether the link is alive.
func (p *proxy) may(k *link) bool {
	for {
		p.mu.Lock()
		dead, hangs, thaw := k.dead, p.mode == proxyHangs, p.thaw
		p.mu.Unlock()
		if dead || !hangs {
			return !dead
		}
		<-thaw
	}
}

// drain takes what is sent and gives it to nobody, until the connection ends.
func drain(c net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// cut closes a link's connections.
func (p *proxy) cut(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked(k)
}

func (p *proxy) cutLocked(k *link) {
	delete(p.links, k)
	for _, c := range []net.Conn{k.worker, k.server} {
		if c != nil {
			_ = c.Close() // it may be closed
		}
	}
}

// set begins a mode; it ends the one before.
func (p *proxy) set(mode proxyMode) {
	p.t.Helper()
	p.mu.Lock()
	before := p.mode
	p.mode = mode
	if before == proxyHangs {
		close(p.thaw)
	}
	if mode == proxyHangs {
		p.thaw = make(chan struct{})
	}
	if mode == proxyVanishes {
		for k := range p.links {
			k.dead = true
		}
	}
	if mode == proxyRefuses {
		_ = p.listen.Close()
		for k := range p.links {
			p.cutLocked(k)
		}
	}
	p.mu.Unlock()
	if before == proxyRefuses && mode != proxyRefuses {
		p.open()
	}
}

// close ends everything.
func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.mode == proxyHangs {
		close(p.thaw)
		p.mode = proxyPasses
	}
	if err := p.listen.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Errorf("close the proxy: %v", err)
	}
	for k := range p.links {
		p.cutLocked(k)
	}
}
