package store

import (
	"encoding/json"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Rows to the domain's types and back. Everything JSON in a row was written
// here, so what cannot be read is an error that names the row.

func clusterOf(r dbsqlc.Cluster) jobs.Cluster {
	return jobs.Cluster{
		ID: r.ID, Tenant: r.Tenant, Name: r.Name, State: jobs.ClusterState(r.State), Host: r.Host, Spec: r.Spec,
		Endpoints: jobs.Endpoints{Primary: r.PrimaryEndpoint, Replica: r.ReplicaEndpoint},
		CreatedAt: r.CreatedAt, DeletedAt: r.DeletedAt,
	}
}

func clustersOf(rows []dbsqlc.Cluster) []jobs.Cluster {
	list := make([]jobs.Cluster, len(rows))
	for i, r := range rows {
		list[i] = clusterOf(r)
	}
	return list
}

// clusterRow is r with what a rule may change.
func clusterRow(r dbsqlc.Cluster, c *jobs.Cluster) dbsqlc.Cluster {
	r.State, r.Spec, r.DeletedAt = string(c.State), c.Spec, c.DeletedAt
	r.PrimaryEndpoint, r.ReplicaEndpoint = c.Endpoints.Primary, c.Endpoints.Replica
	return r
}

func operationOf(r dbsqlc.Operation) (jobs.Operation, error) {
	o := jobs.Operation{
		ID: r.ID, Arrival: r.Arrival, Tenant: r.Tenant, RequestID: r.RequestID, Kind: jobs.KindName(r.Kind),
		Cluster: r.Cluster, Source: r.Source, Actor: r.Actor, Spec: r.Spec, State: jobs.OperationState(r.State),
		Undo: jobs.UndoReason(r.Undo), Stage: int(r.Stage), Stages: r.Stages, Percent: int(r.Percent), Seq: r.Seq,
		Replays: int(r.Replays), Deadline: r.Deadline, AcceptedAt: r.AcceptedAt, StartedAt: r.StartedAt,
		FinishedAt: r.FinishedAt,
	}
	if r.ClusterID != nil {
		o.ClusterID = *r.ClusterID
	}
	if err := decode(r.Error, &o.Error); err != nil {
		return o, fmt.Errorf("read operation %s: %w", r.ID, err)
	}
	return o, nil
}

func operationsOf(rows []dbsqlc.Operation) ([]jobs.Operation, error) {
	list := make([]jobs.Operation, len(rows))
	for i, r := range rows {
		var err error
		if list[i], err = operationOf(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// operationRow is r with what a rule may change.
func operationRow(r dbsqlc.Operation, o *jobs.Operation) (dbsqlc.Operation, error) {
	r.State, r.Undo, r.Stage, r.Percent = string(o.State), string(o.Undo), int32(o.Stage), int32(o.Percent)
	r.Seq, r.Replays, r.Deadline, r.StartedAt, r.FinishedAt = o.Seq, int32(o.Replays), o.Deadline, o.StartedAt, o.FinishedAt
	var err error
	if r.Error, err = encode(o.Error); err != nil {
		return r, fmt.Errorf("write operation %s: %w", r.ID, err)
	}
	return r, nil
}

func stepOf(r dbsqlc.Step) (*jobs.StepRecord, error) {
	s := &jobs.StepRecord{
		ID: r.ID, Stage: int(r.Stage), Step: jobs.Step{Name: r.Name, Node: r.Node}, State: jobs.StepState(r.State),
		Undoing: r.Undoing, Weight: int(r.Weight), Attempt: int(r.Attempt), Failures: int(r.Failures),
		ReadyAt: r.ReadyAt, Owner: r.Owner, LeaseUntil: r.LeaseUntil, Output: r.Output,
		StartedAt: r.StartedAt, FinishedAt: r.FinishedAt,
	}
	for _, f := range []struct {
		raw  []byte
		into any
	}{{r.Observation, &s.Observation}, {r.Error, &s.Error}, {r.History, &s.History}} {
		if err := decode(f.raw, f.into); err != nil {
			return nil, fmt.Errorf("read step %s: %w", s.Step, err)
		}
	}
	return s, nil
}

// stepRow is r with what a rule may change; not the attempt, which a claim
// alone counts.
func stepRow(r dbsqlc.Step, s *jobs.StepRecord) (dbsqlc.Step, error) {
	r.State, r.Undoing, r.Failures, r.ReadyAt, r.Owner = string(s.State), s.Undoing, int32(s.Failures), s.ReadyAt, s.Owner
	r.LeaseUntil, r.Output, r.StartedAt, r.FinishedAt = s.LeaseUntil, s.Output, s.StartedAt, s.FinishedAt
	if s.State != jobs.StepRunning {
		r.LeaseUntil = nil
	}
	if len(s.Output) == 0 {
		r.Output = nil
	}
	if len(s.History) > jobs.MaxHistory {
		s.History = s.History[len(s.History)-jobs.MaxHistory:]
	}
	var err error
	for _, f := range []struct {
		raw  *[]byte
		from any
		none bool
	}{
		{&r.Observation, s.Observation, s.Observation == nil},
		{&r.Error, s.Error, s.Error == nil},
		{&r.History, s.History, len(s.History) == 0},
	} {
		if f.none {
			*f.raw = nil
		} else if *f.raw, err = json.Marshal(f.from); err != nil {
			return r, fmt.Errorf("write step %s: %w", s.Step, err)
		}
	}
	return r, nil
}

func decode(raw []byte, into any) error {
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, into)
}

func encode(e *jobs.Error) ([]byte, error) {
	if e == nil {
		return nil, nil
	}
	return json.Marshal(e)
}
