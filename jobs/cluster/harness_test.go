package cluster

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// bench runs the catalogue's steps, one after another, without the engine.
type bench struct {
	t       *testing.T
	c       *Catalogue
	steps   map[string]jobs.StepType
	cluster jobs.Cluster
	outputs map[string]json.RawMessage
	facts   []jobs.Fact
	seen    []jobs.Observation
	timeout time.Duration
}

func newBench(t *testing.T, c *Catalogue, cluster jobs.Cluster) *bench {
	t.Helper()
	b := &bench{t: t, c: c, steps: map[string]jobs.StepType{}, cluster: cluster, outputs: map[string]json.RawMessage{}, timeout: 30 * time.Second}
	for _, st := range c.Steps() {
		b.steps[st.Name] = st
	}
	return b
}

func (b *bench) attempt(step jobs.Step) *jobs.Attempt {
	return &jobs.Attempt{
		Operation: jobs.Operation{ID: "op"}, Cluster: b.cluster, Step: step, Number: 1, Outputs: b.outputs,
		Report: func(o jobs.Observation) { b.seen = append(b.seen, o) },
	}
}

func (b *bench) try(step jobs.Step) (jobs.Result, error) {
	b.t.Helper()
	st, ok := b.steps[step.Name]
	require.True(b.t, ok, "unknown step %s", step)
	ctx, cancel := context.WithTimeout(b.t.Context(), b.timeout)
	defer cancel()
	return st.Run(ctx, b.attempt(step))
}

func (b *bench) run(step jobs.Step) jobs.Result {
	b.t.Helper()
	result, err := b.try(step)
	require.NoError(b.t, err, "run %s", step)
	if result.Cluster != nil && result.Cluster.State != "" {
		b.cluster.State = result.Cluster.State
	}
	if result.Output != nil {
		b.outputs[step.String()] = mustJSON(result.Output)
	}
	return result
}

func (b *bench) undo(step jobs.Step) {
	b.t.Helper()
	st := b.steps[step.Name]
	if st.Undo == nil {
		return
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), b.timeout)
	defer cancel()
	require.NoError(b.t, st.Undo(ctx, b.attempt(step)), "undo %s", step)
}

// all runs a whole plan.
func (b *bench) all(kind jobs.Kind) {
	b.t.Helper()
	for _, stage := range planOf(b.t, kind, b.cluster) {
		for _, step := range stage.Steps {
			b.facts = append(b.facts, b.run(step).Facts...)
		}
	}
}

// fixture is a catalogue in a world of its own, with one cluster.
func fixture(t *testing.T, change func(*jobs.ClusterSpec)) (*world, *answers, *bench) {
	t.Helper()
	w := newWorld()
	p := newAnswers(w)
	cluster := newCluster("orders", change)
	w.clusters[cluster.ID] = cluster
	c, err := New(Deps{Engine: w, State: w, Log: zerolog.Nop(), probe: p})
	require.NoError(t, err)
	return w, p, newBench(t, c, cluster)
}

const nothingLeft = "nothing, 0 secrets, 0 ports, 0 nodes"

// TestEveryStepThroughTheHarness drives each step of cluster.create through run,
// run again, undo, undo again, run: the second run changes nothing, the undo
// removes what the run made, and undoing all leaves nothing.
func TestEveryStepThroughTheHarness(t *testing.T) {
	t.Parallel()
	w, p, b := fixture(t, nil)
	var done []jobs.Step
	for _, stage := range planOf(t, createKind(), b.cluster) {
		for _, step := range stage.Steps {
			before := w.left()
			b.run(step)
			made, changes := w.left(), w.changes
			b.run(step)
			require.Equal(t, made, w.left(), "running %s again", step)
			require.Equal(t, changes, w.changes, "running %s again touched the Engine", step)
			if b.steps[step.Name].Undo != nil {
				b.undo(step)
				require.Equal(t, before, w.left(), "undoing %s", step)
				b.undo(step)
				require.Equal(t, before, w.left(), "undoing %s again", step)
				p.key = "" // a node that is gone lost its key
				b.run(step)
				require.Equal(t, made, w.left(), "running %s after its undo", step)
			}
			done = append(done, step)
		}
	}
	require.Equal(t, jobs.ClusterReady, b.cluster.State)
	require.True(t, p.settled)
	for i := len(done) - 1; i >= 0; i-- {
		b.undo(done[i])
	}
	require.Equal(t, nothingLeft, w.left())
}

func TestCreateTellsWhoJoinedThenReady(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, nil)
	b.all(createKind())
	require.Len(t, b.facts, 4)
	require.Equal(t, jobs.NodeJoined, b.facts[0].Type)
	require.Equal(t, jobs.ClusterReadyEv, b.facts[3].Type)
	require.Len(t, w.nodes, 7)
	for _, box := range w.containers {
		require.Equal(t, "orders", box.Labels[docker.LabelCluster])
		require.Equal(t, b.cluster.ID, box.Labels[docker.LabelClusterID])
		require.NotEmpty(t, box.Labels[docker.LabelRole])
		require.NotEmpty(t, box.Labels[docker.LabelNode])
	}
}

func TestDeleteLeavesNothingWhateverWasMade(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, func(s *jobs.ClusterSpec) { s.EtcdMembers = 1 })
	create := planOf(t, createKind(), b.cluster)
	var steps []jobs.Step
	for _, stage := range create {
		steps = append(steps, stage.Steps...)
	}
	for made := range steps {
		for _, step := range steps[:made] {
			b.run(step)
		}
		b.all(deleteKind())
		require.Equal(t, nothingLeft, w.left(), "deleted after %d steps", made)
		b.all(deleteKind()) // each step again is no fault
	}
	last := b.facts[len(b.facts)-1]
	require.Equal(t, jobs.ClusterDeletedEv, last.Type)
	require.Equal(t, jobs.ClusterDeleted, b.cluster.State)
}

func TestSingleNodeNeedsNoReplica(t *testing.T) {
	t.Parallel()
	_, _, b := fixture(t, func(s *jobs.ClusterSpec) { s.Nodes, s.EtcdMembers, s.SynchronousMode = 1, 1, "on" })
	b.all(createKind())
	require.Contains(t, b.facts[len(b.facts)-1].Message, "nothing answers at")
}

// TestNoSecretLeavesTheFiles looks for every secret in whatever a person or a
// portal can read.
func TestNoSecretLeavesTheFiles(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, nil)
	b.all(createKind())
	open := string(mustJSON(b.outputs)) + string(mustJSON(b.facts)) + string(mustJSON(b.seen))
	for _, box := range w.containers {
		spec := box.spec
		spec.Files = nil
		open += string(mustJSON(spec))
	}
	for name, secret := range w.secrets {
		if name != caCert && name[max(0, len(name)-4):] != ".pem" {
			require.NotContains(t, open, string(secret), "%s is out", name)
		}
	}
	require.NotContains(t, keys(w.secrets).String(), string(w.secrets[superuserPass]))
}
