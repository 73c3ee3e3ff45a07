package patroni

import (
	"fmt"
	"regexp"
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

// ceilings are the most that a container allows.
var ceilings = map[string]float64{
	"max_connections": 10000, "superuser_reserved_connections": 20,
	"max_stack_depth": 7168, // kB; above the usual stack limit of 8 MB PostgreSQL does not start
}

// forms are the texts that PostgreSQL would not start with otherwise, or that
// would load something. Where the image's contents count, the list is closed.
var forms = map[string]struct {
	form *regexp.Regexp
	says string
}{
	"TimeZone":                 {zoneForm, "it takes a time zone's name, like Europe/Berlin"},
	"log_timezone":             {zoneForm, "it takes a time zone's name, like Europe/Berlin"},
	"DateStyle":                {regexp.MustCompile(`(?i)^(ISO|SQL|Postgres|German)(, ?(DMY|MDY|YMD))?$`), "it takes a style and an order, like ISO, DMY"},
	"lc_messages":              {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_monetary":              {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_numeric":               {localeForm, "the nodes have the locales C and C.UTF-8"},
	"lc_time":                  {localeForm, "the nodes have the locales C and C.UTF-8"},
	"huge_pages":               {regexp.MustCompile(`(?i)^(off|try|no|false|0)$`), "a container has no huge pages to rely on: it takes off or try"},
	"timezone_abbreviations":   {regexp.MustCompile(`^(Default|Australia|India)$`), "it takes Default, Australia or India"},
	"client_encoding":          {regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`), "it takes an encoding's name, like UTF8"},
	"createrole_self_grant":    {regexp.MustCompile(`^((set|inherit)(, ?(set|inherit))?)?$`), "it takes set, inherit or both"},
	"shared_preload_libraries": {regexp.MustCompile(`^(` + preloadable + `)?(, ?(` + preloadable + `))*$`), "it takes a list of pg_stat_statements, auto_explain and pg_prewarm"},
}

// preloadable are the modules of PostgreSQL's own contrib folder that are loaded
// at the start; they bring settings of their own.
const preloadable = `pg_stat_statements|auto_explain|pg_prewarm`

var (
	localeForm   = regexp.MustCompile(`^(C|POSIX|C\.UTF-?8|C\.utf8)$`)
	zoneForm     = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$`)
	moduleForm   = regexp.MustCompile(`^(` + preloadable + `|plpgsql)\.[a-z][a-z0-9_]{0,40}$`)
	settingShape = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,62}$`)
)

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

// checkPolicy says what pgforeman demands of a value beyond PostgreSQL.
func (s setting) checkPolicy(value string) error {
	if want, ok := forms[s.name]; ok && !want.form.MatchString(value) {
		return fmt.Errorf("%s", want.says)
	}
	floor, hasFloor := floors[s.name]
	ceiling, hasCeiling := ceilings[s.name]
	if !hasFloor && !hasCeiling {
		return nil
	}
	got, err := s.number(value)
	switch {
	case err != nil:
		return err
	case hasFloor && got < floor:
		return fmt.Errorf("a cluster needs at least %s%s", plain(floor), s.unitPhrase())
	case hasCeiling && got > ceiling:
		return fmt.Errorf("a node allows at most %s%s", plain(ceiling), s.unitPhrase())
	}
	return nil
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
