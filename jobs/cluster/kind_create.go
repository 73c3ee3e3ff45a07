package cluster

import (
	"encoding/json"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Names of the steps of cluster.create. They are persisted: never renamed,
// never reused.
const (
	stepAllocate   = "cluster.allocate"
	stepNetwork    = "network.ensure"
	stepEtcdStart  = "etcd.start"
	stepEtcdReady  = "etcd.healthy"
	stepProxyStart = "proxy.start"
	stepNodeStart  = "node.start"
	stepAnswering  = "node.answering"
	stepLeader     = "leader.elected"
	stepDatabases  = "databases.ensure"
	stepBasebackup = "node.basebackup"
	stepStreaming  = "node.streaming"
	stepRegistered = "proxy.registered"
	stepVerify     = "cluster.verify"
)

func createKind() jobs.Kind {
	return jobs.Kind{
		Name:   jobs.ClusterCreate,
		Target: jobs.NewCluster,
		Title:  "create a cluster",
		Decode: func(req jobs.Request) (json.RawMessage, error) {
			spec, faults := jobs.DecodeClusterSpec(req)
			if len(faults) > 0 {
				return nil, faults
			}
			if faults = checkParameters(spec); len(faults) > 0 {
				return nil, faults
			}
			return json.Marshal(spec)
		},
		Plan: planCreate,
	}
}

// planCreate brings etcd to health first, because a Patroni that finds none
// sleeps for ten seconds at a time; the proxies start while etcd elects its
// leader, which leaves the processors idle, so a host port that is taken shows
// early too. The first node then has the processors to itself until it makes the
// database, which takes one of them; the others start on what is left, and the
// leader key wakes them to copy at once.
func planCreate(in jobs.PlanInput) (jobs.Plan, error) {
	s, err := plannedSite(in)
	if err != nil {
		return nil, err
	}
	first, others := s.nodes()[:1], s.nodes()[1:]
	atOnce, afterwards := once(stepDatabases), []jobs.Step(nil)
	if s.strict() { // no row is committed before there is a replica
		atOnce, afterwards = nil, once(stepDatabases)
	}
	plan := jobs.Plan{
		{Title: "Prepare passwords, certificates, ports and the network", Steps: together(
			once(stepAllocate),
			once(stepNetwork))},
		{Title: "Start etcd", Steps: each(stepEtcdStart, s.etcds())},
		{Title: "Wait for etcd, start the proxies", Steps: together(
			once(stepEtcdReady),
			each(stepProxyStart, s.proxies()))},
		{Title: "Start the first node", Steps: each(stepNodeStart, first)},
		{Title: "Wait until it makes the database", Steps: each(stepAnswering, first)},
		{Title: "Wait for the leader, start the other nodes", Steps: together(
			once(stepLeader),
			each(stepNodeStart, others))},
		{Title: "Copy the data to the replicas, make databases and users", Steps: together(
			each(stepBasebackup, others),
			atOnce)},
		{Title: "Wait for streaming and for the proxies", Steps: together(
			each(stepStreaming, others),
			each(stepRegistered, s.proxies()))},
		{Title: "Make databases and users", Steps: afterwards},
		{Title: "Verify through the published ports", Steps: once(stepVerify)},
	}
	return withoutEmpty(plan), nil
}

func plannedSite(in jobs.PlanInput) (site, error) {
	s, err := siteOf(jobs.Cluster{ID: in.ClusterID, Tenant: in.Tenant, Name: in.Cluster, Spec: in.ClusterSpec})
	if err != nil {
		return s, err
	}
	if s.spec.Nodes < 1 || s.spec.EtcdMembers < 1 || s.spec.Proxies < 1 {
		return s, fmt.Errorf("plan cluster %s: it needs a node, an etcd member and a proxy at least", in.Cluster)
	}
	return s, nil
}

func once(name string) []jobs.Step { return []jobs.Step{{Name: name}} }

func each(name string, nodes []string) []jobs.Step {
	var steps []jobs.Step
	for _, node := range nodes {
		steps = append(steps, jobs.Step{Name: name, Node: node})
	}
	return steps
}

func together(groups ...[]jobs.Step) []jobs.Step {
	var steps []jobs.Step
	for _, g := range groups {
		steps = append(steps, g...)
	}
	return steps
}

// withoutEmpty leaves out stages that have no step, as copying is for one node.
func withoutEmpty(plan jobs.Plan) jobs.Plan {
	var out jobs.Plan
	for _, stage := range plan {
		if len(stage.Steps) > 0 {
			out = append(out, stage)
		}
	}
	return out
}
