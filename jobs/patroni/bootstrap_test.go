package patroni_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/patroni"
)

var update = flag.Bool("update", false, "write the golden files anew")

func decodeDCS(t testing.TB, spec patroni.Spec) map[string]any {
	t.Helper()
	text, err := patroni.BootstrapDCS(spec)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	return got
}

func TestBootstrapDCSGolden(t *testing.T) {
	for name, spec := range map[string]patroni.Spec{
		"plain":  {},
		"small":  {SyncMode: patroni.SyncOn, MemoryMB: 512},
		"large":  {SyncMode: patroni.SyncStrict, MemoryMB: 65536, Parameters: map[string]string{"work_mem": "64MB", "max_connections": "500"}},
		"timing": {SyncMode: patroni.SyncOff, Timing: patroni.Timing{TTL: 30, LoopWait: 1, RetryTimeout: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := patroni.BootstrapDCS(spec)
			require.NoError(t, err)
			path := filepath.Join("testdata", "dcs_"+name+".json")
			if *update {
				require.NoError(t, os.WriteFile(path, got, 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

// What pgforeman itself derives must pass its own check of values.
func TestDerivedSettingsAreValid(t *testing.T) {
	for _, mb := range []int{0, 128, 256, 2048, 1 << 20} {
		derived := patroni.Parameters(patroni.Spec{MemoryMB: mb})
		for _, name := range []string{"archive_command", "archive_mode", "hot_standby", "wal_level", "wal_log_hints", "wal_retrieve_retry_interval"} {
			require.Contains(t, derived, name)
			delete(derived, name)
		}
		require.Empty(t, patroni.ValidateParameters(derived))
		require.Empty(t, patroni.ValidateMemory(derived, mb))
	}
}

func TestBootstrapDCSRefuses(t *testing.T) {
	for name, spec := range map[string]patroni.Spec{
		"mode":             {SyncMode: "sometimes"},
		"rule of ttl":      {Timing: patroni.Timing{TTL: 20, LoopWait: 10, RetryTimeout: 10}},
		"least ttl":        {Timing: patroni.Timing{TTL: 19, LoopWait: 1, RetryTimeout: 3}},
		"least retry time": {Timing: patroni.Timing{TTL: 20, LoopWait: 1, RetryTimeout: 2}},
	} {
		_, err := patroni.BootstrapDCS(spec)
		require.Error(t, err, name)
	}
}
