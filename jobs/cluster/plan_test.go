package cluster

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mustJSON(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func planOf(t *testing.T, kind jobs.Kind, c jobs.Cluster) jobs.Plan {
	t.Helper()
	plan, err := kind.Plan(jobs.PlanInput{Tenant: c.Tenant, Cluster: c.Name, ClusterID: c.ID, Spec: c.Spec, ClusterSpec: c.Spec})
	require.NoError(t, err)
	return plan
}

func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		kind   jobs.Kind
		change func(*jobs.ClusterSpec)
	}{
		"create-three":  {kind: createKind()},
		"create-single": {kind: createKind(), change: func(s *jobs.ClusterSpec) { s.Nodes, s.EtcdMembers, s.SynchronousMode = 1, 1, "off" }},
		"create-wide":   {kind: createKind(), change: func(s *jobs.ClusterSpec) { s.Nodes, s.Proxies = 4, 2 }},
		"create-strict": {kind: createKind(), change: func(s *jobs.ClusterSpec) { s.Nodes, s.SynchronousMode = 2, "strict" }},
		"delete":        {kind: deleteKind()},
		"rotate":        {kind: rotateKind(), change: func(s *jobs.ClusterSpec) { s.Proxies = 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			for i, stage := range planOf(t, c.kind, newCluster("orders", c.change)) {
				fmt.Fprintf(&text, "%d %s\n", i+1, stage.Title)
				for _, step := range stage.Steps {
					fmt.Fprintf(&text, "    %s\n", step)
				}
			}
			golden(t, name+".plan", text.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to write it")
	require.Equal(t, string(want), got)
}

func TestEveryPlannedStepIsKnown(t *testing.T) {
	c, err := New(Deps{Engine: newWorld(), State: newWorld()})
	require.NoError(t, err)
	known := map[string]bool{}
	for _, st := range c.Steps() {
		require.False(t, known[st.Name], "two steps are named %s", st.Name)
		known[st.Name] = true
		require.NotEmpty(t, st.Title)
		require.NotNil(t, st.Run)
	}
	for _, kind := range c.Kinds() {
		for _, stage := range planOf(t, kind, newCluster("orders", nil)) {
			require.NotEmpty(t, stage.Title)
			for _, step := range stage.Steps {
				require.True(t, known[step.Name], "%s plans the unknown step %s", kind.Name, step)
			}
		}
	}
}

func TestNamesFit(t *testing.T) {
	s, err := siteOf(newCluster(strings.Repeat("a", 40), func(s *jobs.ClusterSpec) { s.Nodes, s.Proxies = 9, 2 }))
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, p := range s.parts() {
		require.LessOrEqual(t, len(p.name), 63, "%s is no host name", p.name)
		require.False(t, seen[s.container(p.name)])
		seen[s.container(p.name)] = true
	}
	require.Equal(t, s.nodes()[0]+".a1b2c3d4", s.container(s.nodes()[0]))
}

func TestTwoClustersOfOneNameShareNothing(t *testing.T) {
	one, err := siteOf(newCluster("orders", nil))
	require.NoError(t, err)
	two := one
	two.ID = "0193a3c2-0000-7000-8000-0000ffffffff"
	require.NotEqual(t, one.network(), two.network())
	require.NotEqual(t, one.container("orders-1"), two.container("orders-1"))
	require.NotEqual(t, one.dataVolume("orders-1"), two.dataVolume("orders-1"))
}
