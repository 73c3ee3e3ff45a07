package cluster

import (
	"encoding/json"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Names of the steps of cluster.delete. They are persisted: never renamed,
// never reused.
const (
	stepRemoveContainers = "containers.remove"
	stepRemoveNetwork    = "network.remove"
	stepRemoveVolumes    = "volumes.remove"
	stepForget           = "cluster.forget"
)

func deleteKind() jobs.Kind {
	return jobs.Kind{
		Name:   jobs.ClusterDelete,
		Target: jobs.ExistingCluster,
		Title:  "delete a cluster",
		Decode: func(req jobs.Request) (json.RawMessage, error) {
			var spec jobs.DeleteSpec
			faults := jobs.DecodeStrict(req.Data, &spec)
			faults = append(faults, otherName(req, spec.Name)...)
			if len(faults) > 0 {
				return nil, faults
			}
			spec.Name = req.Cluster
			return json.Marshal(spec)
		},
		Plan: planDelete,
	}
}

// planDelete finds everything by label, so it also deletes a cluster that was
// never finished. The keys in etcd go with etcd's volumes: it is the cluster's
// own.
func planDelete(jobs.PlanInput) (jobs.Plan, error) {
	return jobs.Plan{
		{Title: "Remove the containers", Steps: once(stepRemoveContainers)},
		{Title: "Remove the volumes and the network", Steps: together(
			once(stepRemoveVolumes),
			once(stepRemoveNetwork))},
		{Title: "Forget passwords, ports and nodes", Steps: once(stepForget)},
	}, nil
}
