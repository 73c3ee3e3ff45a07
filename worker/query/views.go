package query

import (
	"encoding/json"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// bareCluster is a cluster without its nodes.
func bareCluster(c jobs.Cluster) (jobs.ClusterView, error) {
	view := jobs.ClusterView{
		ID: c.ID, Name: c.Name, Tenant: c.Tenant, State: string(c.State),
		Nodes: []jobs.NodeView{}, Endpoints: c.Endpoints, CreatedAt: c.CreatedAt,
	}
	if len(c.Spec) > 0 {
		if err := json.Unmarshal(c.Spec, &view.Spec); err != nil {
			return view, fmt.Errorf("read the specification of cluster %s: %w", c.ID, err)
		}
	}
	return view, nil
}

// operationView is an operation without its stages and steps.
func operationView(op jobs.Operation) jobs.OperationView {
	return jobs.OperationView{
		ID: op.ID, RequestID: op.RequestID, Tenant: op.Tenant, Kind: op.Kind, Cluster: op.Cluster,
		State: string(op.State), Undo: string(op.Undo), Percent: op.Percent, Error: op.Error, Actor: op.Actor,
		Seq: op.Seq, Replays: op.Replays, AcceptedAt: op.AcceptedAt, StartedAt: op.StartedAt, FinishedAt: op.FinishedAt,
	}
}

func (s *Service) stepView(st jobs.StepRecord) jobs.StepView {
	return jobs.StepView{
		Name: st.Name, Title: s.titles[st.Name], Node: st.Node, Stage: st.Stage + 1, State: string(st.State),
		Attempt: st.Attempt, Worker: st.Owner, StartedAt: st.StartedAt, FinishedAt: st.FinishedAt,
		Error: st.Error, Observation: st.Observation, History: st.History,
	}
}
