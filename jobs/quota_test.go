package jobs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func TestQuotaAllow(t *testing.T) {
	asked := jobs.ClusterSpec{Nodes: 3, CPUs: 0.1, MemoryMB: 1024}.Resources()
	require.Equal(t, jobs.Resources{Clusters: 1, Nodes: 3, CPUs: asked.CPUs, MemoryMB: 3072}, asked)
	used := jobs.Resources{Clusters: 2, Nodes: 4, CPUs: 0.5, MemoryMB: 5000}
	for name, tc := range map[string]struct {
		quota jobs.Resources
		says  []string // nothing: allowed
	}{
		"none":                      {jobs.Resources{}, nil},
		"all reached, not exceeded": {jobs.Resources{Clusters: 3, Nodes: 7, CPUs: 0.8, MemoryMB: 8072}, nil},
		"clusters":                  {jobs.Resources{Clusters: 2}, []string{"clusters: asked for 1, used 2, limit 2"}},
		"nodes":                     {jobs.Resources{Nodes: 6}, []string{"nodes: asked for 3, used 4, limit 6"}},
		"cpus":                      {jobs.Resources{CPUs: 0.7}, []string{"cpus: asked for 0.3", "used 0.5, limit 0.7"}},
		"memory":                    {jobs.Resources{MemoryMB: 8071}, []string{"memory_mb: asked for 3072, used 5000, limit 8071"}},
		"all at once":               {jobs.Resources{Clusters: 1, Nodes: 1, CPUs: 0.1, MemoryMB: 1}, []string{"clusters:", "nodes:", "cpus:", "memory_mb:", "acme"}},
	} {
		t.Run(name, func(t *testing.T) {
			refusal := tc.quota.Allow("acme", asked, used)
			if len(tc.says) == 0 {
				require.Nil(t, refusal)
				return
			}
			require.NotNil(t, refusal)
			require.Equal(t, jobs.CodeQuota, refusal.Code)
			for _, text := range tc.says {
				require.Contains(t, refusal.Message, text)
			}
		})
	}
	unlimited := jobs.ClusterSpec{Nodes: 1, MemoryMB: 256}.Resources()
	require.Contains(t, jobs.Resources{CPUs: 64}.Allow("acme", unlimited, used).Message, "without a limit")
	require.Nil(t, jobs.Resources{Nodes: 64}.Allow("acme", unlimited, used))
}

func TestParseQuotas(t *testing.T) {
	def := jobs.Resources{Clusters: 2, MemoryMB: 4096}
	q, err := jobs.ParseQuotas(def, []byte(`{"acme": {"clusters": 0, "cpus": 1.5}, "lab": {}}`))
	require.NoError(t, err)
	require.Equal(t, jobs.Resources{CPUs: 1.5, MemoryMB: 4096}, q.Of("acme"))
	require.Equal(t, def, q.Of("lab"))
	require.Equal(t, def, q.Of("another"))
	require.False(t, jobs.Quotas{}.Of("any").Limited())
	q, err = jobs.ParseQuotas(def, nil)
	require.NoError(t, err)
	require.Equal(t, def, q.Of("any"))

	_, err = jobs.ParseQuotas(jobs.Resources{Nodes: -1}, []byte(`{"Acme": {"nodes": 1, "disk": 3}, "b": {"cpus": -2}, "c": []}`))
	for _, fault := range []string{"nodes: is -1", "Acme", "disk", "b.cpus: is -2", "c: must be an object"} {
		require.ErrorContains(t, err, fault)
	}
}
