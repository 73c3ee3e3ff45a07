package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// specFlags are the flags of "cluster create": one for every field of
// jobs.ClusterSpec, or a file with all of them.
type specFlags struct {
	file            string
	nodes           int
	etcdMembers     int
	proxies         int
	postgresVersion string
	cpus            float64
	memoryMB        int
	synchronousMode string
	parameters      []string
	databases       []string
	users           []string
	primaryPort     int
	replicaPort     int
	bindAddress     string
	labels          []string
	onFailure       string
	timeout         time.Duration
}

// add declares the flags. The defaults are shown only: what is not given is not
// sent, so that they stay the contract's.
func (s *specFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.SortFlags = false
	f.IntVar(&s.nodes, "nodes", 3, "PostgreSQL nodes, 1 to 9")
	f.IntVar(&s.etcdMembers, "etcd-members", 3, "etcd members, 1 or 3")
	f.IntVar(&s.proxies, "proxies", 1, "HAProxy containers, 1 or 2")
	f.StringVar(&s.postgresVersion, "postgres-version", "17", "PostgreSQL's major version")
	f.Float64Var(&s.cpus, "cpus", 0, "CPUs of a node, such as 0.5; 0 for no limit")
	f.IntVar(&s.memoryMB, "memory-mb", 1024, "memory of a node in MiB")
	f.StringVar(&s.synchronousMode, "synchronous-mode", "", "off, on, or strict: no write without a standby (default on with 2 nodes or more)")
	f.StringArrayVar(&s.parameters, "parameter", nil, "PostgreSQL setting, `name=value`; repeat for more")
	f.StringArrayVar(&s.databases, "database", nil, "database to make, `name[:owner]`; repeat for more (app is always there)")
	f.StringArrayVar(&s.users, "user", nil, "login role to make, with a generated password; repeat for more (app is always there)")
	f.IntVar(&s.primaryPort, "primary-port", 0, "port on the host that leads to the primary; 0 for a free one")
	f.IntVar(&s.replicaPort, "replica-port", 0, "port on the host that leads to the replicas; 0 for a free one")
	f.StringVar(&s.bindAddress, "bind-address", "127.0.0.1", "address of the host to publish the ports on")
	f.StringArrayVar(&s.labels, "label", nil, "label, `name=value`; repeat for more")
	f.StringVar(&s.onFailure, "on-failure", "keep", "keep what was made, for a replay; or rollback")
	f.DurationVar(&s.timeout, "timeout", 0, "limit of the whole operation, 30s to 24h; 0 for none beside those of its steps")
	f.StringVarP(&s.file, "file", "f", "", "JSON `file` with the specification, instead of these flags; - for standard input")
}

// specField is a flag, the field that it fills, and the value that it has.
type specField struct {
	flag, field string
	value       any
}

// fields are the flags in the order of the specification. Faults are those that
// only a flag can have.
func (s *specFlags) fields() ([]specField, jobs.Faults) {
	var faults jobs.Faults
	if math.IsNaN(s.cpus) || math.IsInf(s.cpus, 0) {
		faults = append(faults, jobs.Fault{Field: "cpus", Message: "must be a number"})
		s.cpus = 0
	}
	return []specField{
		{"nodes", "nodes", s.nodes},
		{"etcd-members", "etcd_members", s.etcdMembers},
		{"proxies", "proxies", s.proxies},
		{"postgres-version", "postgres_version", s.postgresVersion},
		{"cpus", "cpus", s.cpus},
		{"memory-mb", "memory_mb", s.memoryMB},
		{"synchronous-mode", "synchronous_mode", s.synchronousMode},
		{"parameter", "parameters", pairs("parameters", s.parameters, &faults)},
		{"database", "databases", databasesOf(s.databases)},
		{"user", "users", usersOf(s.users)},
		{"primary-port", "primary_port", s.primaryPort},
		{"replica-port", "replica_port", s.replicaPort},
		{"bind-address", "bind_address", s.bindAddress},
		{"label", "labels", pairs("labels", s.labels, &faults)},
		{"on-failure", "on_failure", s.onFailure},
		{"timeout", "timeout_seconds", int(math.Ceil(s.timeout.Seconds()))},
	}, faults
}

// changed is the first flag of the specification that was given; "" for none.
func (s *specFlags) changed(f *pflag.FlagSet) string {
	fields, _ := s.fields()
	for _, x := range fields {
		if f.Changed(x.flag) {
			return x.flag
		}
	}
	return ""
}

// spec is the request's data: the name, and what was given.
func (s *specFlags) spec(f *pflag.FlagSet, name string) (map[string]any, jobs.Faults) {
	fields, faults := s.fields()
	spec := map[string]any{"name": name}
	for _, x := range fields {
		if f.Changed(x.flag) {
			spec[x.field] = x.value
		}
	}
	return spec, faults
}

// pairs reads name=value flags. A value may have more equals signs.
func pairs(field string, given []string, faults *jobs.Faults) map[string]string {
	out := make(map[string]string, len(given))
	for _, g := range given {
		name, value, ok := strings.Cut(g, "=")
		_, twice := out[name]
		switch {
		case !ok || name == "":
			*faults = append(*faults, jobs.Fault{Field: field, Message: fmt.Sprintf("%q must be name=value", g)})
		case twice:
			*faults = append(*faults, jobs.Fault{Field: field + "." + name, Message: "is given twice"})
		default:
			out[name] = value
		}
	}
	return out
}

func databasesOf(given []string) []jobs.DatabaseSpec {
	out := make([]jobs.DatabaseSpec, 0, len(given))
	for _, g := range given {
		name, owner, _ := strings.Cut(g, ":")
		out = append(out, jobs.DatabaseSpec{Name: name, Owner: owner})
	}
	return out
}

func usersOf(given []string) []jobs.UserSpec {
	out := make([]jobs.UserSpec, 0, len(given))
	for _, g := range given {
		out = append(out, jobs.UserSpec{Name: g})
	}
	return out
}
