package patroni

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingsTable(t *testing.T) {
	lines := 0
	for line := range strings.Lines(settingsText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		lines++
		_, err := parseSetting(strings.TrimSuffix(line, "\n"))
		require.NoError(t, err)
	}
	require.Len(t, settings(), lines)
	require.Greater(t, lines, 370)
	for name := range owned {
		require.Contains(t, settings(), name, "owned, but not in PostgreSQL 17")
	}
	for name, floor := range floors {
		s := settings()[name]
		require.Equal(t, "integer", s.kind, name)
		require.GreaterOrEqual(t, floor, s.min, name)
	}
	for name := range forms {
		require.Contains(t, settings(), name)
		require.Empty(t, refusal(name))
	}
	for _, name := range sixteens {
		require.Equal(t, "8kB", settings()[name].unit)
	}
	for name := range ceilings {
		require.Equal(t, "integer", settings()[name].kind)
	}
}

// Whatever names a program, a library or a place of PostgreSQL's own files must
// not be left to users, also after an update of the table.
func TestNothingRunsCode(t *testing.T) {
	for name, s := range settings() {
		for _, part := range []string{"_command", "librar", "_file", "directory", "directories", "_dir", "path"} {
			harmless := map[string]bool{"search_path": true, "log_temp_files": true, "remove_temp_files_after_crash": true, "temp_file_limit": true, "file_extend_method": true, "log_replication_commands": true}
			if s.kind != "string" || harmless[name] || !strings.Contains(name, part) {
				continue
			}
			_, held := forms[name]
			require.True(t, held || refusal(name) != "" || s.context == "internal", name)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        float64
		fail        string
	}{
		{"shared_buffers", "128MB", 16384, ""},
		{"shared_buffers", "16384", 16384, ""},
		{"shared_buffers", " 1 GB ", 131072, ""},
		{"shared_buffers", "1.5GB", 196608, ""},
		{"shared_buffers", "1gb", 0, "the units are B, kB, MB, GB, TB"},
		{"shared_buffers", "8kB", 0, "it takes 16 to"},
		{"shared_buffers", "lots", 0, "like 64MB"},
		{"shared_buffers", "", 0, "it takes a number"},
		{"work_mem", "0x40", 64, ""},
		{"work_mem", "1e3", 1000, ""},
		{"work_mem", "64.5", 0, "whole number"},
		{"work_mem", "0100", 0, "it takes a number"},
		{"work_mem", "NaN", 0, "it takes a number"},
		{"work_mem", "1e999", 0, "it takes a number"},
		{"work_mem", "9e300", 0, "it takes 64 to"},
		{"checkpoint_timeout", "15min", 900, ""},
		{"checkpoint_timeout", "2d", 0, "it takes 30 to 86400"},
		{"checkpoint_timeout", "15m", 0, "the units are us, ms, s, min, h, d"},
		{"deadlock_timeout", "1500us", 2, ""}, // rounded to even, as PostgreSQL does
		{"log_temp_files", "-1", -1, ""},
		{"random_page_cost", "1.1", 1.1, ""},
		{"random_page_cost", ".5", .5, ""},
		{"random_page_cost", "1.1MB", 0, "has no unit"},
		{"bgwriter_lru_multiplier", "11", 0, "it takes 0 to 10"},
	} {
		got, err := settings()[tc.name].number(tc.value)
		if tc.fail != "" {
			require.ErrorContains(t, err, tc.fail, "%s = %q", tc.name, tc.value)
			continue
		}
		require.NoError(t, err, "%s = %q", tc.name, tc.value)
		require.InDelta(t, tc.want, got, 1e-9, "%s = %q", tc.name, tc.value)
	}
}
