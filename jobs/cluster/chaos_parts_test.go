package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs/etcd"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// simParts is what etcd, Patroni and PostgreSQL of all clusters on a simHost
// answer: only to those who hold the secrets that their containers were made
// with, and a leader only with a quorum of etcd.
type simParts struct {
	host *simHost

	mu      sync.Mutex
	leaders map[string]etcd.Leader     // by cluster
	tokens  map[string]map[string]bool // by cluster: rows written
	turn    int
}

func newSimParts(h *simHost) *simParts {
	return &simParts{host: h, leaders: map[string]etcd.Leader{}, tokens: map[string]map[string]bool{}}
}

func (p *simParts) etcdHealth(_ context.Context, s site, k keys, member string) (etcd.MemberHealth, error) {
	if !p.host.answers(s, k, member) {
		return etcd.MemberHealth{}, errSilent
	}
	return etcd.MemberHealth{IsLeader: member == s.etcds()[0]}, nil
}

func (p *simParts) quorum(s site, k keys) bool {
	up := 0
	for _, m := range s.etcds() {
		if p.host.answers(s, k, m) {
			up++
		}
	}
	return up > len(s.etcds())/2
}

func (p *simParts) etcdAuth(_ context.Context, s site, k keys) error {
	if !p.quorum(s, k) {
		return errSilent
	}
	return nil
}

// leader gives the holder of the key. A holder that is gone loses it to the
// first node that answers.
func (p *simParts) leader(_ context.Context, s site, k keys) (etcd.Leader, error) {
	if !p.quorum(s, k) {
		return etcd.Leader{}, errSilent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	held := p.leaders[s.ID]
	if held.Node != "" && p.host.answers(s, k, held.Node) {
		return held, nil
	}
	for _, n := range s.nodes() {
		if p.host.answers(s, k, n) {
			p.leaders[s.ID] = etcd.Leader{Node: n, Revision: held.Revision + 1}
			return p.leaders[s.ID], nil
		}
	}
	return etcd.Leader{}, etcd.ErrNoLeader
}

func (p *simParts) revoke(_ context.Context, s site, _ keys, seen etcd.Leader) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaders[s.ID] != seen {
		return false, nil
	}
	p.leaders[s.ID] = etcd.Leader{Revision: seen.Revision}
	return true, nil
}

func (p *simParts) status(_ context.Context, s site, k keys, node string) (patroni.Status, error) {
	if !p.host.answers(s, k, node) {
		return patroni.Status{}, errSilent
	}
	return patroni.Status{State: "running"}, nil
}

func (p *simParts) isPrimary(ctx context.Context, s site, k keys, node string) (bool, error) {
	leader, err := p.leader(ctx, s, k)
	return err == nil && leader.Node == node, nil
}

func (p *simParts) members(ctx context.Context, s site, k keys, node string) (patroni.Cluster, error) {
	var out patroni.Cluster
	if !p.host.answers(s, k, node) {
		return out, errSilent
	}
	leader, _ := p.leader(ctx, s, k) // without one all are replicas
	for _, n := range s.nodes() {
		switch {
		case !p.host.answers(s, k, n):
		case n == leader.Node:
			out.Members = append(out.Members, patroni.Member{Name: n, Role: "leader", State: "running", Timeline: 1})
		default:
			out.Members = append(out.Members, patroni.Member{Name: n, Role: "sync_standby", State: "streaming", Timeline: 1})
		}
	}
	return out, nil
}

func (p *simParts) settle(_ context.Context, s site, k keys, node string) error {
	if !p.host.answers(s, k, node) {
		return errSilent
	}
	return nil
}

func (p *simParts) install(ctx context.Context, s site, k keys, of part) error {
	if !p.host.answers(s, k, of.name) {
		return errSilent
	}
	return p.host.PutFiles(ctx, s.container(of.name), s.certificateFiles(k, of))
}

func (p *simParts) served(_ context.Context, s site, k keys, of part) ([]string, error) {
	if !p.host.answers(s, k, of.name) {
		return nil, errSilent
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	b, ok := p.host.containers[s.container(of.name)]
	if !ok {
		return nil, errSilent
	}
	serial, err := keys{certOf(of.name): fileOf(b.spec, "node.pem")}.serial(of.name)
	return []string{serial}, err
}

func (p *simParts) replication(_ context.Context, s site, k keys, leader string) ([]postgres.Standby, error) {
	if !p.host.answers(s, k, leader) {
		return nil, errSilent
	}
	var out []postgres.Standby
	for _, n := range s.nodes() {
		if n != leader && p.host.answers(s, k, n) {
			out = append(out, postgres.Standby{Name: n, State: "streaming", SyncState: "sync"})
		}
	}
	return out, nil
}

func (p *simParts) receiver(context.Context, site, keys, string) (postgres.WALReceiver, error) {
	return postgres.WALReceiver{Status: "streaming"}, nil
}

func (p *simParts) basebackups(context.Context, site, keys, string) ([]postgres.Basebackup, error) {
	return nil, nil
}

func (p *simParts) databases(_ context.Context, s site, k keys, leader string) error {
	if !p.host.answers(s, k, leader) {
		return errSilent
	}
	return nil
}

// answerer finds the proxy that has the port, and leads to the leader or, in
// turn, to a replica.
func (p *simParts) answerer(ctx context.Context, s site, k keys, port int) (answer, error) {
	toPrimary, ok := p.proxyAt(s, k, port)
	if !ok {
		return answer{}, errSilent
	}
	leader, err := p.leader(ctx, s, k)
	if err != nil {
		return answer{}, errSilent
	}
	if toPrimary {
		return answer{}, nil
	}
	replicas := slices.DeleteFunc(s.nodes(), func(n string) bool {
		return n == leader.Node || !p.host.answers(s, k, n)
	})
	if len(replicas) == 0 {
		return answer{}, errSilent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	return answer{slot: replicas[p.turn%len(replicas)], replica: true}, nil
}

func (p *simParts) proxyAt(s site, k keys, port int) (toPrimary, ok bool) {
	for _, proxy := range s.proxies() {
		if !p.host.answers(s, k, proxy) {
			continue
		}
		p.host.mu.Lock()
		b := p.host.containers[s.container(proxy)]
		p.host.mu.Unlock()
		if b == nil {
			continue
		}
		for _, at := range b.spec.Ports {
			if at.HostPort == port {
				return at.ContainerPort == proxyPrimaryPort, true
			}
		}
	}
	return false, false
}

var errReadOnly = errors.New("it is read-only")

func (p *simParts) write(ctx context.Context, s site, k keys, port int, token string) error {
	who, err := p.answerer(ctx, s, k, port)
	if err != nil {
		return err
	}
	if who.replica {
		return errReadOnly
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens[s.ID] == nil {
		p.tokens[s.ID] = map[string]bool{}
	}
	p.tokens[s.ID][token] = true
	return nil
}

func (p *simParts) read(ctx context.Context, s site, k keys, port int, token string) (answer, bool, error) {
	who, err := p.answerer(ctx, s, k, port)
	p.mu.Lock()
	defer p.mu.Unlock()
	return who, p.tokens[s.ID][token], err
}

// answers tells whether a part answers somebody who holds the keys.
func (h *simHost) answers(s site, k keys, part string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.containers[s.container(part)]
	return ok && b.Running() && !b.stale && bytes.Equal(b.ca, k[caCert]) && time.Since(b.StartedAt) > bootTime && time.Now().After(b.valid)
}

// validFrom is the moment from which a certificate counts.
func validFrom(certPEM []byte) time.Time {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return time.Time{}
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return cert.NotBefore
}
