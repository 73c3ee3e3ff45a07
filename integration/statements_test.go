package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// talkative are settings with which PostgreSQL tells as much of its statements
// as a user of pgforeman may make it tell.
func talkative() map[string]any {
	return map[string]any{
		"log_statement": "all", "log_min_duration_statement": 0, "log_duration": true,
		"log_min_error_statement": "debug5", "log_connections": true, "log_statement_sample_rate": 1, "log_error_verbosity": "verbose", "log_lock_waits": true, "log_temp_files": 0,
		"shared_preload_libraries": "pg_stat_statements, auto_explain", "pg_stat_statements.track": "all",
		"pg_stat_statements.track_utility": true, "auto_explain.log_min_duration": 0, "auto_explain.log_nested_statements": true,
	}
}

// searchStatements looks for passwords, and for the verifiers that PostgreSQL
// keeps of them, wherever the server tells of statements: its log, the
// statistics, the list of what runs. That other statements are told there shows
// that the search is at the right place.
func searchStatements(t *testing.T, p *program, cluster string, passwords []string) {
	node := p.containers(cluster, "node")[0]
	for _, file := range strings.Fields(mustInside(t, node, "sh", "-c", "ls /opt/secretpg/*-password")) {
		passwords = append(passwords, mustInside(t, node, "cat", file))
	}
	require.GreaterOrEqual(t, len(passwords), 4)
	ask := func(sql string) string {
		t.Helper()
		return mustInside(t, node, "psql", "-U", "postgres", "-XAtc", sql)
	}
	ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
	require.Equal(t, "all|0|on", ask("SELECT current_setting('log_statement') || '|' || current_setting('log_min_duration_statement') || '|' || current_setting('pg_stat_statements.track_utility')"))
	verifiers := strings.Fields(ask("SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"))
	require.GreaterOrEqual(t, len(verifiers), 4)
	for _, place := range []struct{ name, text, has string }{
		{"the log", docker(t, "logs", node), "CREATE DATABASE"},
		{"pg_stat_statements", ask("SELECT query FROM pg_stat_statements"), "CREATE DATABASE"},
		{"pg_stat_activity", ask("SELECT query FROM pg_stat_activity"), "pg_stat_activity"},
	} {
		require.Truef(t, strings.Contains(place.text, place.has), "%s tells no statements: the search is not at the right place", place.name)
		for i, secret := range append(verifiers, passwords...) {
			if at := strings.Index(place.text, secret); at >= 0 {
				t.Errorf("secret %d stands in %s:\n%s", i, place.name, place.text[max(0, at-400):at])
			}
		}
		require.Falsef(t, strings.Contains(place.text, "SCRAM-SHA-256$"), "a verifier, whole or cut, stands in %s", place.name)
	}
}
