package patroni_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/patroni"
)

// FuzzBootstrapDCS looks for a setting that is taken and then breaks out of its
// place: the rendered configuration, read back, has that setting with that value
// and is otherwise what it is without it.
func FuzzBootstrapDCS(f *testing.F) {
	for name, value := range map[string]string{
		"work_mem": "8MB", "search_path": `"it's", public`, "log_statement": "ddl", "auto_explain.log_min_duration": "1s",
		"DateStyle": "ISO, MDY", "archive_command": "touch /tmp/x", "ssl": "off", "x\ny": "z", "": "",
		"default_text_search_config": "'; x = 'y", "timezone": `UTC\`, "lc_messages": "C' # ", "log_timezone": "{{.X}}", "bytea_output": "\u2028",
		"application_name": "a\u0085b", "plpgsql.extra_errors": "all\r\nfsync = off", "work_mem ": "8MB", "WORK_MEM": "8MB", "include": "/etc/passwd",
	} {
		f.Add(name, value, "on", 512)
	}
	f.Fuzz(func(t *testing.T, name, value, mode string, memoryMB int) {
		if memoryMB < 0 || memoryMB > 1<<20 {
			return
		}
		spec := patroni.Spec{SyncMode: patroni.SyncMode(mode), MemoryMB: memoryMB}
		if mode != "on" && mode != "strict" {
			spec.SyncMode = patroni.SyncOff
		}
		want := decodeDCS(t, spec)
		spec.Parameters = map[string]string{name: value}
		text, err := patroni.BootstrapDCS(spec)
		if err != nil {
			var refused *patroni.ParameterError
			require.ErrorAs(t, err, &refused)
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.False(t, strings.ContainsAny(name+value, "\n\r\x00"), "%q = %q could end a line", name, value)
		var got map[string]any
		require.NoError(t, json.Unmarshal(text, &got))
		settings, ok := want["postgresql"].(map[string]any)["parameters"].(map[string]any)
		require.True(t, ok)
		for _, fixed := range []string{"archive_command", "wal_level", "archive_mode", "wal_log_hints", "hot_standby"} {
			require.NotEqual(t, fixed, name)
		}
		settings[name] = value
		require.Equal(t, want, got)
	})
}
