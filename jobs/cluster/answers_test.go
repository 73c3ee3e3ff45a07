package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

var errSilent = errors.New("does not answer")

// answers is a probe whose parts answer as soon as their container runs. The
// first node to run leads until its key is revoked.
type answers struct {
	w  *world
	mu sync.Mutex

	key       string // the leader key
	rev       int64
	turn      int
	tokens    map[string]bool
	made      []string // databases were made on these
	settled   bool
	revoked   []string
	installed []string // parts that were given a certificate, in order
	stubborn  string   // a part that does not take its certificate
	copies    []postgres.Basebackup
	lagging   map[string]bool // nodes that run and do not stream
	role      string          // of replicas; empty is sync_standby
}

func newAnswers(w *world) *answers {
	return &answers{w: w, tokens: map[string]bool{}, lagging: map[string]bool{}}
}

func (p *answers) runs(s site, name string) bool {
	c, err := p.w.Container(context.Background(), s.container(name))
	return err == nil && c.State == docker.StateRunning
}

func (p *answers) etcdHealth(_ context.Context, s site, _ keys, member string) (etcd.MemberHealth, error) {
	if !p.runs(s, member) {
		return etcd.MemberHealth{}, errSilent
	}
	return etcd.MemberHealth{IsLeader: member == s.etcds()[0]}, nil
}

func (p *answers) etcdAuth(context.Context, site, keys) error { return nil }

func (p *answers) leader(_ context.Context, s site, _ keys) (etcd.Leader, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range s.nodes() {
		if p.key == "" && p.runs(s, n) {
			p.key = n
			p.rev++
		}
	}
	if p.key == "" {
		return etcd.Leader{}, etcd.ErrNoLeader
	}
	return etcd.Leader{Node: p.key, Revision: p.rev}, nil
}

func (p *answers) revoke(_ context.Context, _ site, _ keys, seen etcd.Leader) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key != seen.Node || p.rev != seen.Revision {
		return false, nil
	}
	p.revoked = append(p.revoked, p.key)
	p.key = ""
	return true, nil
}

// taken are the nodes whose leader key was revoked.
func (p *answers) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.revoked)
}

func (p *answers) status(_ context.Context, s site, _ keys, node string) (patroni.Status, error) {
	if !p.runs(s, node) {
		return patroni.Status{}, errSilent
	}
	return patroni.Status{State: "running"}, nil
}

func (p *answers) isPrimary(_ context.Context, s site, _ keys, node string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key == node && p.runs(s, node), nil
}

func (p *answers) members(ctx context.Context, s site, k keys, node string) (patroni.Cluster, error) {
	if !p.runs(s, node) {
		return patroni.Cluster{}, errSilent
	}
	leader, _ := p.leader(ctx, s, k)
	var out patroni.Cluster
	for _, n := range s.nodes() {
		switch {
		case !p.runs(s, n):
		case n == leader.Node:
			out.Members = append(out.Members, patroni.Member{Name: n, Role: "leader", State: "running", Timeline: 1})
		case p.lagging[n]:
			out.Members = append(out.Members, patroni.Member{Name: n, Role: "replica", State: "starting", Timeline: 1})
		default:
			out.Members = append(out.Members, patroni.Member{Name: n, Role: cmp.Or(p.role, "sync_standby"), State: "streaming", Timeline: 1})
		}
	}
	return out, nil
}

func (p *answers) settle(context.Context, site, keys, string) error { p.settled = true; return nil }

// install exchanges the files of a container; a part that is stubborn keeps
// working with what it has.
func (p *answers) install(ctx context.Context, s site, k keys, of part) error {
	p.mu.Lock()
	p.installed = append(p.installed, of.name)
	p.mu.Unlock()
	if p.stubborn == of.name {
		return nil
	}
	return p.w.PutFiles(ctx, s.container(of.name), s.certificateFiles(k, of))
}

// served are the files that a container has, once it runs.
func (p *answers) served(_ context.Context, s site, _ keys, of part) ([]string, error) {
	if !p.runs(s, of.name) {
		return nil, errSilent
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	spec := p.w.containers[s.container(of.name)].spec
	serial, err := keys{certOf(of.name): fileOf(spec, "node.pem")}.serial(of.name)
	return []string{serial}, err
}

func (p *answers) replication(_ context.Context, s site, _ keys, leader string) ([]postgres.Standby, error) {
	if !p.runs(s, leader) {
		return nil, errSilent
	}
	var out []postgres.Standby
	for _, n := range s.nodes() {
		if n != leader && p.runs(s, n) && !p.lagging[n] {
			out = append(out, postgres.Standby{Name: n, State: "streaming", SyncState: "sync"})
		}
	}
	return out, nil
}

func (p *answers) receiver(context.Context, site, keys, string) (postgres.WALReceiver, error) {
	return postgres.WALReceiver{Status: "streaming"}, nil
}

func (p *answers) basebackups(context.Context, site, keys, string) ([]postgres.Basebackup, error) {
	return p.copies, nil
}

func (p *answers) databases(_ context.Context, _ site, _ keys, leader string) error {
	p.made = append(p.made, leader)
	return nil
}

// answerer leads the primary's ports to the leader, the replicas' to the others
// in turn, where a proxy runs.
func (p *answers) answerer(ctx context.Context, s site, k keys, port int) (answer, error) {
	if !slices.ContainsFunc(s.proxies(), func(n string) bool { return p.runs(s, n) }) {
		return answer{}, errSilent
	}
	leader, err := p.leader(ctx, s, k)
	if err != nil || !p.runs(s, leader.Node) {
		return answer{}, errSilent
	}
	ports, _ := p.w.AllocatePorts(ctx, s.ID, s.Host, s.portWants(), 0, 0, nil)
	for _, proxy := range s.proxies() {
		if primary, _ := s.purposes(proxy); ports[primary] == port {
			return answer{}, nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for range s.nodes() {
		p.turn++
		if n := s.nodes()[p.turn%s.spec.Nodes]; n != leader.Node && p.runs(s, n) {
			return answer{slot: n, replica: true}, nil
		}
	}
	return answer{}, errSilent
}

func (p *answers) write(ctx context.Context, s site, k keys, port int, token string) error {
	who, err := p.answerer(ctx, s, k, port)
	if err == nil && who.replica {
		err = errors.New("read-only")
	}
	p.tokens[token] = true
	return err
}

func (p *answers) read(ctx context.Context, s site, k keys, port int, token string) (answer, bool, error) {
	who, err := p.answerer(ctx, s, k, port)
	return who, p.tokens[token], err
}

// newCluster is a cluster with the specification that the change makes of three
// nodes, one etcd member and one proxy.
func newCluster(name string, change func(*jobs.ClusterSpec)) jobs.Cluster {
	spec := jobs.ClusterSpec{
		Name: name, Nodes: 3, EtcdMembers: 3, Proxies: 1, PostgresVersion: "17", MemoryMB: 512,
		SynchronousMode: "on", BindAddress: "127.0.0.1", OnFailure: "keep",
	}
	if change != nil {
		change(&spec)
	}
	return jobs.Cluster{
		ID: "0193a3c2-0000-7000-8000-0000a1b2c3d4", Tenant: "default", Name: name, State: jobs.ClusterCreating,
		Host: "local", Spec: mustJSON(spec),
	}
}
