package patroni

import (
	"slices"
	"strings"
)

// Why a setting is refused. The sentences go to the person who asked for it.
const (
	byPatroni    = "Patroni sets it for each node"
	byPgforeman  = "pgforeman sets it and relies on it"
	byRecovery   = "Patroni manages recovery and replication"
	byLogging    = "the nodes log to their container's output"
	byTLS        = "pgforeman manages TLS and authentication"
	runsCode     = "it would run programs or load code on the nodes"
	losesData    = "it can lose or damage data"
	forDeveloper = "it is for developers of PostgreSQL"
	tellsSecrets = "it would log the statements with which passwords are set"
	inContainer  = "it depends on the container in which the node runs"
)

// owned are settings that users may not set, by name.
var owned = map[string]string{
	"listen_addresses": byPatroni, "port": byPatroni, "cluster_name": byPatroni, "data_directory": byPatroni,
	"config_file": byPatroni, "hba_file": byPatroni, "ident_file": byPatroni, "external_pid_file": byPatroni,
	"hot_standby": byPatroni, "allow_alter_system": byPatroni, "restart_after_crash": byPatroni, "bonjour": byPatroni,
	"bonjour_name": byPatroni,

	"wal_level": byPgforeman, "wal_log_hints": byPgforeman, "archive_mode": byPgforeman,
	"wal_retrieve_retry_interval":   byPgforeman,
	"default_transaction_read_only": byPgforeman, "transaction_read_only": byPgforeman, "session_replication_role": byPgforeman,
	"transaction_isolation": byPgforeman, "transaction_deferrable": byPgforeman,

	"primary_conninfo": byRecovery, "primary_slot_name": byRecovery, "synchronous_standby_names": byRecovery,
	"synchronized_standby_slots": byRecovery, "sync_replication_slots": byRecovery, "wal_receiver_create_temp_slot": byRecovery,

	"password_encryption": byTLS, "krb_server_keyfile": byTLS, "krb_caseins_users": byTLS,
	"gss_accept_delegation": byTLS, "ssl": byTLS,

	"log_destination": byLogging, "logging_collector": byLogging, "log_directory": byLogging, "log_filename": byLogging,
	"log_file_mode": byLogging, "log_truncate_on_rotation": byLogging, "event_source": byLogging,
	"log_line_prefix": byLogging,

	// Patroni switches the other ways of logging statements off before it makes
	// its roles (postgresql/bootstrap.py: create_or_update_role), not these.
	"log_statement_stats": tellsSecrets, "log_parser_stats": tellsSecrets, "log_planner_stats": tellsSecrets,
	"log_executor_stats": tellsSecrets, "log_transaction_sample_rate": tellsSecrets, "log_min_duration_sample": tellsSecrets,

	"archive_command": runsCode, "restore_command": runsCode, "archive_cleanup_command": runsCode, "recovery_end_command": runsCode,
	"archive_library": runsCode, "session_preload_libraries": runsCode, "local_preload_libraries": runsCode,
	"output_plugin_libraries": runsCode, "dynamic_library_path": runsCode, "extension_destdir": runsCode, "jit_provider": runsCode,

	"fsync": losesData, "full_page_writes": losesData, "zero_damaged_pages": losesData, "ignore_checksum_failure": losesData,
	"ignore_invalid_pages": losesData, "allow_system_table_mods": losesData, "data_sync_retry": losesData,
	"recovery_init_sync_method": losesData,

	"ignore_system_indexes": forDeveloper, "allow_in_place_tablespaces": forDeveloper, "backtrace_functions": forDeveloper,
	"exit_on_error": forDeveloper, "post_auth_delay": forDeveloper, "pre_auth_delay": forDeveloper,
	"remove_temp_files_after_crash": forDeveloper, "send_abort_for_crash": forDeveloper, "send_abort_for_kill": forDeveloper,
	"wal_consistency_checking": forDeveloper, "jit_debugging_support": forDeveloper, "jit_profiling_support": forDeveloper,
	"jit_dump_bitcode": forDeveloper,

	"dynamic_shared_memory_type": inContainer, "shared_memory_type": inContainer, "huge_page_size": inContainer,
	"max_files_per_process": inContainer, "default_table_access_method": inContainer,
}

// ownedPrefixes are families of them.
var ownedPrefixes = []struct{ prefix, why string }{
	{"ssl_", byTLS},
	{"recovery_target", byRecovery},
	{"recovery_min", byRecovery},
	{"unix_socket_", inContainer},
	{"log_rotation_", byLogging},
	{"syslog_", byLogging},
	{"debug_", forDeveloper},
	{"trace_", forDeveloper},
}

// floors are the least values with which a cluster of nine nodes works and
// PostgreSQL and Patroni start. Patroni silently replaces lower values of the
// settings that it passes on the command line.
var floors = map[string]float64{
	"max_wal_senders": 20, "max_replication_slots": 20, "max_connections": 25, "max_worker_processes": 8,
	"max_locks_per_transaction": 32, "superuser_reserved_connections": 3,
	"min_wal_size": 32, "max_wal_size": 32, // MB; twice a segment, or PostgreSQL does not start
	"wal_sender_timeout": 1000, "wal_receiver_timeout": 1000, // ms; 0 would never notice a dead peer
}

// ceilings are the most that a container allows, or with which PostgreSQL finds
// its shared memory: it multiplies several of these with one another.
var ceilings = map[string]float64{
	"max_connections": 10000, "superuser_reserved_connections": 20, "autovacuum_max_workers": 1000,
	"max_wal_senders": 1000, "max_replication_slots": 1000, "max_worker_processes": 1000, "max_prepared_transactions": 10000,
	"max_locks_per_transaction": 10000, "max_pred_locks_per_transaction": 10000,
	"max_stack_depth": 7168, // kB; above the usual stack limit of 8 MB PostgreSQL does not start
}

// sixteens are numbers of buffers in banks of 16 (slru.c: check_slru_buffers).
var sixteens = []string{
	"commit_timestamp_buffers", "multixact_member_buffers", "multixact_offset_buffers", "notify_buffers",
	"serializable_buffers", "subtransaction_buffers", "transaction_buffers",
}

// refusal says why users may not set name, or nothing.
func refusal(name string) string {
	if why, ok := owned[name]; ok {
		return why
	}
	for _, family := range ownedPrefixes {
		if strings.HasPrefix(name, family.prefix) {
			return family.why
		}
	}
	return ""
}

// suggestion is a known name that differs in letters' case alone, or nothing.
func suggestion(name string) string {
	names := make([]string, 0, 1)
	for known := range settings() {
		if strings.EqualFold(known, name) {
			names = append(names, known)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
