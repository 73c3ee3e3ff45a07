package patroni_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/patroni"
)

func TestValidateParameters(t *testing.T) {
	for _, tc := range []struct{ name, value, says string }{
		{"work_mem", "64MB", ""},
		{"max_connections", "500", ""},
		{"autovacuum", "off", ""},
		{"autovacuum", "TRUE", ""},
		{"synchronous_commit", "remote_apply", ""},
		{"synchronous_commit", "1", ""},
		{"wal_compression", "lz4", ""},
		{"DateStyle", "ISO, DMY", ""},
		{"TimeZone", "Europe/Berlin", ""},
		{"TimeZone", "Etc/GMT+3", ""},
		{"application_name", `a"b\c'd`, ""},
		{"search_path", `"$user", public`, ""},
		{"shared_preload_libraries", "pg_stat_statements,auto_explain", ""},
		{"pg_stat_statements.max", "5000", ""},
		{"auto_explain.log_min_duration", "3s", ""},
		{"max_wal_size", "2GB", ""},
		{"log_min_duration_statement", "250ms", ""},
		{"default_text_search_config", "pg_catalog.german", ""},
		{"client_encoding", "utf8", ""},
		{"transaction_buffers", "128", ""},

		{"work_mem", "64XB", "no unit"},
		{"work_mem", "many", "a number with a unit"},
		{"autovacuum", "maybe", "on or off"},
		{"wal_compression", "zip", "one of pglz, lz4, zstd"},
		{"workmem", "1MB", "no setting of this name"},
		{"datestyle", "ISO", "write it DateStyle"},
		{"Work_Mem", "1MB", "write it work_mem"},
		{"server_version", "18", "only shows it"},
		{"", "x", "not the name"},
		{"work_mem\nport", "1", "not the name"},
		{"search_path", "x\narchive_command = 'evil'", "cannot be printed"},
		{"application_name", "a\x00b", "cannot be printed"},
		{"application_name", "\xff", "cannot be printed"},
		{"application_name", strings.Repeat("x", 1001), "longer than"},
		{"TimeZone", "../../etc/passwd", "time zone"},
		{"TimeZone", "Europe/Berlim", "time zone"},
		{"log_timezone", "Local", "time zone"},
		{"transaction_buffers", "100", "multiple of 16"},
		{"vacuum_buffer_usage_limit", "64kB", "128kB and more"},
		{"vacuum_buffer_usage_limit", "99999GB", "it takes 0 to"},
		{"client_encoding", "EBCDIC", "encoding"},
		{"default_text_search_config", "klingon", "configuration"},
		{"max_locks_per_transaction", "2000000000", "at most"},
		{"lc_messages", "de_DE.UTF-8", "locales"},
		{"huge_pages", "on", "off or try"},
		{"max_wal_senders", "5", "at least 20"},
		{"max_connections", "10", "at least 25"},
		{"max_connections", "100000", "at most"},
		{"max_stack_depth", "100MB", "at most"},
		{"min_wal_size", "16MB", "at least 32"},
		{"shared_preload_libraries", "evil", "pg_stat_statements"},
		{"shared_preload_libraries", "/tmp/x.so", "pg_stat_statements"},
		{"evil.setting", "1", "only the settings of"},

		{"listen_addresses", "*", "cannot be set"},
		{"port", "5433", "cannot be set"},
		{"data_directory", "/x", "cannot be set"},
		{"hba_file", "/x", "cannot be set"},
		{"ssl", "off", "cannot be set"},
		{"ssl_passphrase_command", "sh -c id", "cannot be set"},
		{"archive_mode", "off", "cannot be set"},
		{"archive_command", "rm -rf /", "run programs"},
		{"restore_command", "x", "run programs"},
		{"wal_level", "minimal", "cannot be set"},
		{"hot_standby", "off", "cannot be set"},
		{"primary_conninfo", "x", "cannot be set"},
		{"synchronous_standby_names", "*", "cannot be set"},
		{"unix_socket_directories", "/tmp", "cannot be set"},
		{"log_directory", "/", "cannot be set"},
		{"log_line_prefix", "%m ", "cannot be set"},
		{"log_statement_stats", "on", "passwords"},
		{"log_parser_stats", "on", "passwords"},
		{"log_transaction_sample_rate", "1", "passwords"},
		{"log_min_duration_sample", "0", "passwords"},
		{"session_preload_libraries", "x", "run programs"},
		{"local_preload_libraries", "x", "run programs"},
		{"dynamic_library_path", "/tmp", "run programs"},
		{"jit_provider", "x", "run programs"},
		{"fsync", "off", "lose or damage"},
		{"full_page_writes", "off", "lose or damage"},
		{"password_encryption", "md5", "cannot be set"},
		{"recovery_target_time", "2020-01-01", "cannot be set"},
		{"debug_discard_caches", "0", "cannot be set"},
	} {
		problems := patroni.ValidateParameters(map[string]string{tc.name: tc.value})
		if tc.says == "" {
			require.Empty(t, problems, "%s = %q", tc.name, tc.value)
			continue
		}
		require.Len(t, problems, 1, "%s = %q", tc.name, tc.value)
		require.Contains(t, problems[0].Message, tc.says, "%s = %q", tc.name, tc.value)
	}
}

func TestValidateParametersTellsAllAtOnce(t *testing.T) {
	require.Nil(t, patroni.ValidateParameters(nil))
	bad := map[string]string{"port": "1", "work_mem": "x", "nonsense": "1", "autovacuum": "2", "jit": "on"}
	var names []string
	for _, p := range patroni.ValidateParameters(bad) {
		names = append(names, p.Name)
	}
	require.Equal(t, []string{"autovacuum", "nonsense", "port", "work_mem"}, names)

	_, err := patroni.BootstrapDCS(patroni.Spec{Parameters: bad})
	for _, name := range names {
		require.ErrorContains(t, err, name)
	}
}

func TestReservedConnections(t *testing.T) {
	require.Empty(t, patroni.ValidateParameters(map[string]string{"max_connections": "50", "reserved_connections": "40"}))
	problems := patroni.ValidateParameters(map[string]string{"max_connections": "50", "reserved_connections": "47"})
	require.Len(t, problems, 1)
	require.Contains(t, problems[0].Message, "leave none")
}

func TestValidateMemory(t *testing.T) {
	for value, fits := range map[string]bool{"": true, "128MB": true, "768MB": true, "769MB": false, "64GB": false, "junk": true} {
		problems := patroni.ValidateMemory(map[string]string{"shared_buffers": value}, 1024)
		require.Equal(t, fits, len(problems) == 0, value)
	}
	require.Empty(t, patroni.ValidateMemory(nil, 1024))
	require.Empty(t, patroni.ValidateMemory(map[string]string{"shared_buffers": "64GB"}, 0))
}

// FuzzParameters: no name and no value may change anything in the dynamic
// configuration but the setting of that name.
func FuzzParameters(f *testing.F) {
	for _, seed := range [][2]string{
		{"work_mem", "64MB"}, {"application_name", `a"b\c'd`}, {"log_line_prefix", "x\ny: z"}, {"search_path", "*a &b !c #d"},
		{"search_path", `"}, "ttl": 1`}, {`a": 1, "b`, "c"}, {"application_name", "{{ x }} ${y} %(z)s"}, {"application_name", "\u2028\x85"},
	} {
		f.Add(seed[0], seed[1])
	}
	plain := decodeDCS(f, patroni.Spec{MemoryMB: 512})
	f.Fuzz(func(t *testing.T, name, value string) {
		spec := patroni.Spec{MemoryMB: 512, Parameters: map[string]string{name: value}}
		if len(patroni.ValidateParameters(spec.Parameters)) > 0 {
			_, err := patroni.BootstrapDCS(spec)
			require.Error(t, err)
			return
		}
		require.NotContains(t, value, "\n")
		got := decodeDCS(t, spec)
		parameters := got["postgresql"].(map[string]any)["parameters"].(map[string]any)
		require.Equal(t, value, parameters[name])
		was := maps.Clone(plain["postgresql"].(map[string]any)["parameters"].(map[string]any))
		was[name] = value
		require.Equal(t, was, parameters)
		require.ElementsMatch(t, slices.Collect(maps.Keys(plain)), slices.Collect(maps.Keys(got)))
	})
}
