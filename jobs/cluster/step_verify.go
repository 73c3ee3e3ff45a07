package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// verified is what the step leaves for people.
type verified struct {
	Leader    string         `json:"leader"`
	Endpoints jobs.Endpoints `json:"endpoints"`
}

// verify proves that the cluster works as an application uses it: a row written
// through the primary port is read through the replica port from every replica.
// It declares the cluster ready.
func (c *Catalogue) verify() jobs.StepType {
	return jobs.StepType{
		Name:    stepVerify,
		Title:   "verify the cluster",
		Timeout: 2 * time.Minute,
		Weight:  2,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			ports, err := c.hostPorts(ctx, s)
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.writeAndRead(ctx, a, s, k, ports); err != nil {
				return jobs.Result{}, err
			}
			leader, err := c.leaderNow(ctx, s, k)
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.probe.settle(ctx, s, k, leader); err != nil {
				return jobs.Result{}, fmt.Errorf("settle patroni of cluster %s: %w", s.Name, err)
			}
			return c.ready(ctx, s, k, leader, s.endpoints(ports))
		},
	}
}

func (c *Catalogue) writeAndRead(ctx context.Context, a *jobs.Attempt, s site, k keys, ports map[string]int) error {
	token := rand.Text()
	primaryPort, replicaPort := ports[primaryPurpose], ports[replicaPurpose]
	written := false
	replicas := map[string]bool{}
	return wait(ctx, a, "a row to be written and read", func(ctx context.Context) (bool, jobs.Observation, error) {
		if !written {
			if err := c.probe.write(ctx, s, k, primaryPort, token); err != nil {
				return false, jobs.Observation{}, fmt.Errorf("write through port %d: %w", primaryPort, err)
			}
			written = true
		}
		want := s.spec.Nodes - 1
		for range 2 * want { // the proxy takes the replicas in turn
			who, arrived, err := c.probe.read(ctx, s, k, replicaPort, token)
			switch {
			case err != nil:
				return false, jobs.Observation{}, fmt.Errorf("read through port %d: %w", replicaPort, err)
			case !who.replica:
				return false, jobs.Observation{Message: fmt.Sprintf("port %d led to the primary", replicaPort)}, nil
			case arrived:
				replicas[who.slot] = true
			}
			if len(replicas) >= want {
				break
			}
		}
		return len(replicas) >= want, jobs.Observation{
			Message: fmt.Sprintf("a row was read from %d of %d replicas", len(replicas), want),
			Done:    int64(len(replicas)), Total: int64(want), Unit: "replicas",
		}, nil
	})
}

// ready is the result that declares the cluster ready.
func (c *Catalogue) ready(ctx context.Context, s site, k keys, leader string, endpoints jobs.Endpoints) (jobs.Result, error) {
	records := c.records(ctx, s, k, nil)
	if err := c.state.SaveNodes(ctx, s.ID, records); err != nil {
		return jobs.Result{}, fmt.Errorf("save the nodes of cluster %s: %w", s.Name, err)
	}
	var facts []jobs.Fact
	for _, r := range records {
		if r.Part == roleNode {
			facts = append(facts, jobs.Fact{
				Type: jobs.NodeJoined, Node: r.Name, Message: fmt.Sprintf("%s joined as %s", r.Name, roleWords(r.Role)),
				Details: map[string]any{"role": r.Role, "timeline": r.Timeline},
			})
		}
	}
	message := fmt.Sprintf("cluster %s is ready: primary at %s, replicas at %s", s.Name, endpoints.Primary, endpoints.Replica)
	if s.spec.Nodes == 1 {
		message = fmt.Sprintf("cluster %s is ready at %s; its one node has no replica, so nothing answers at %s",
			s.Name, endpoints.Primary, endpoints.Replica)
	}
	facts = append(facts, jobs.Fact{
		Type: jobs.ClusterReadyEv, Message: message,
		Details: map[string]any{"leader": leader, "nodes": s.spec.Nodes},
	})
	return jobs.Result{
		Output:  verified{Leader: leader, Endpoints: endpoints},
		Facts:   facts,
		Cluster: &jobs.ClusterChange{State: jobs.ClusterReady, Endpoints: &endpoints},
	}, nil
}

// endpoints are where clients connect: those of the first proxy.
func (s site) endpoints(ports map[string]int) jobs.Endpoints {
	at := func(purpose string) string {
		return net.JoinHostPort(s.dialAddress(), strconv.Itoa(ports[purpose]))
	}
	return jobs.Endpoints{Primary: at(primaryPurpose), Replica: at(replicaPurpose)}
}
