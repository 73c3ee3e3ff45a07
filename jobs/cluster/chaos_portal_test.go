package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// portal publishes requests.
type portal struct {
	sim  *sim
	rng  *rand.Rand
	sent []*sentMessage
	ids  int
}

// sentMessage is one content, published once or more often.
type sentMessage struct {
	tenant, subject string
	body            []byte
	msgID           string // its Nats-Msg-Id, where it has one
	poison          bool
	request         string // its id; empty for poison
}

var (
	simTenants  = []string{"alpha", "beta"}
	simClusters = []string{"orders", "stock", "users", "mail"}
)

func newPortal(s *sim) *portal {
	return &portal{sim: s, rng: rand.New(rand.NewPCG(s.seed, 2))}
}

func one[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// next publishes something.
func (p *portal) next() {
	dice := p.rng.IntN(100)
	switch {
	case len(p.sent) < 3 || dice < 34:
		p.create()
	case dice < 40:
		p.request(jobs.ClusterRotate, one(p.rng, simTenants), one(p.rng, simClusters), map[string]any{"certificates": true})
	case dice < 54:
		p.request(jobs.ClusterDelete, one(p.rng, simTenants), one(p.rng, simClusters), map[string]any{})
	case dice < 66:
		p.order(jobs.OperationCancel)
	case dice < 74:
		p.order(jobs.OperationReplay)
	case dice < 80:
		p.order(jobs.OperationDiscard)
	case dice < 90:
		p.sim.struck(faultTwice, "")
		p.publish(one(p.rng, p.sent))
	case dice < 95:
		p.conflict()
	default:
		p.poison()
	}
}

func (p *portal) create() {
	spec := map[string]any{
		"nodes": one(p.rng, []int{1, 1, 2, 3}), "etcd_members": one(p.rng, []int{1, 1, 3}), "proxies": one(p.rng, []int{1, 1, 1, 2}),
		"memory_mb": 256, "on_failure": one(p.rng, []string{"keep", "keep", "rollback"}),
	}
	if p.rng.IntN(12) == 0 {
		spec["memory_mb"] = 1 << 20 // more than the host has: it fails for good
	}
	if p.rng.IntN(20) == 0 {
		spec["nodes"] = 77 // rejected
	}
	p.request(jobs.ClusterCreate, one(p.rng, simTenants), one(p.rng, simClusters), spec)
}

// order publishes a control request for some operation, known by its request.
func (p *portal) order(kind jobs.KindName) {
	target := *one(p.rng, p.sent)
	if target.poison {
		return
	}
	p.sim.struck(faultOrder, "")
	spec := jobs.ControlSpec{OperationID: target.request, Reason: "chaos"}
	if letters, _, err := p.sim.toMend(); err == nil && len(letters) > 0 && kind != jobs.OperationCancel {
		letter := one(p.rng, letters)
		target.tenant, spec = letter.Tenant, jobs.ControlSpec{DeadLetterID: letter.ID, Reason: "chaos"}
	}
	p.request(kind, target.tenant, "", spec)
}

// conflict publishes other content under an id that was used.
func (p *portal) conflict() {
	other := one(p.rng, p.sent)
	if other.poison {
		return
	}
	p.sim.struck(faultOther, "")
	p.send(other.tenant, other.request, jobs.ClusterCreate, one(p.rng, simClusters), map[string]any{"nodes": 1, "labels": map[string]string{"n": fmt.Sprint(len(p.sent))}})
}

// poison publishes what cannot be read, or is of no known kind.
func (p *portal) poison() {
	p.sim.struck(faultPoison, "")
	tenant := one(p.rng, simTenants)
	m := &sentMessage{tenant: tenant, poison: true, subject: jobs.RequestSubject(tenant, jobs.ClusterCreate)}
	switch p.rng.IntN(4) {
	case 0:
		m.body = []byte(fmt.Sprintf("not JSON %d", len(p.sent)))
	case 1:
		m.body = []byte{0xff, 0xfe, byte(len(p.sent))}
	case 2:
		m.body = []byte(fmt.Sprintf("[[[%d]]]", len(p.sent)))
	default:
		m.subject = jobs.RequestSubject(tenant, "cluster.paint")
		m.body = envelope("cluster.paint", fmt.Sprintf("paint-%d", len(p.sent)), "orders", map[string]any{})
	}
	p.publish(m)
	p.sent = append(p.sent, m)
}

func (p *portal) request(kind jobs.KindName, tenant, cluster string, data any) *sentMessage {
	p.ids++
	return p.send(tenant, fmt.Sprintf("r%d", p.ids), kind, cluster, data)
}

func (p *portal) send(tenant, id string, kind jobs.KindName, cluster string, data any) *sentMessage {
	m := &sentMessage{
		tenant: tenant, subject: jobs.RequestSubject(tenant, kind), body: envelope(kind, id, cluster, data),
		request: id,
	}
	if p.rng.IntN(2) == 0 {
		m.msgID = fmt.Sprintf("%s.%s.%d", tenant, id, len(p.sent))
	}
	p.sent = append(p.sent, m)
	p.publish(m)
	return m
}

func envelope(kind jobs.KindName, id, cluster string, data any) []byte {
	e := map[string]any{"specversion": "1.0", "id": id, "source": "chaos", "type": jobs.RequestTypeName(kind), "data": data}
	if cluster != "" {
		e["subject"] = cluster
	}
	return mustJSON(e)
}

// publish publishes until JetStream has acknowledged it.
func (p *portal) publish(m *sentMessage) {
	var options []jetstream.PublishOpt
	if m.msgID != "" {
		options = append(options, jetstream.WithMsgID(m.msgID))
	}
	ok := p.sim.until(patience, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := p.sim.js.PublishMsg(ctx, &nats.Msg{Subject: m.subject, Data: m.body}, options...)
		return err == nil
	})
	if !ok {
		p.sim.violate(invSettled, "JetStream does not take a message of the portal")
	}
}
