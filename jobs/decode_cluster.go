package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits of cluster.create.
const (
	maxNodes      = 9
	maxObjects    = 50 // databases, users
	maxParameters = 200
	maxLabels     = 32
	maxLabelValue = 255 // characters
	maxSetting    = 1024
)

// clusterWire is the data of cluster.create as it is sent: what is nil was left
// out.
type clusterWire struct {
	Name            *string           `json:"name"`
	Nodes           *int              `json:"nodes"`
	EtcdMembers     *int              `json:"etcd_members"`
	Proxies         *int              `json:"proxies"`
	PostgresVersion *string           `json:"postgres_version"`
	CPUs            *float64          `json:"cpus"`
	MemoryMB        *int              `json:"memory_mb"`
	SynchronousMode *string           `json:"synchronous_mode"`
	Parameters      map[string]scalar `json:"parameters"`
	Databases       []DatabaseSpec    `json:"databases"`
	Users           []UserSpec        `json:"users"`
	PrimaryPort     *int              `json:"primary_port"`
	ReplicaPort     *int              `json:"replica_port"`
	BindAddress     *string           `json:"bind_address"`
	Labels          map[string]string `json:"labels"`
	OnFailure       *string           `json:"on_failure"`
	TimeoutSeconds  *int              `json:"timeout_seconds"`
}

// scalar is a PostgreSQL setting: a string, a number or a truth value.
type scalar string

// UnmarshalJSON takes the three types and keeps a number as it is written.
func (s *scalar) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return errors.New("must be a string")
		}
		*s = scalar(text)
	case 't':
		*s = "on"
	case 'f':
		*s = "off"
	case '{', '[', 'n':
		return fmt.Errorf("must be a string, a number or true or false, not %s", jsonType(raw))
	default:
		*s = scalar(raw)
	}
	return nil
}

// DecodeClusterSpec reads the data of cluster.create, fills every default in
// and checks every limit that can be checked without knowing PostgreSQL's
// settings or the machine. All faults are told at once; the specification is of
// use only when there is none.
func DecodeClusterSpec(req Request) (ClusterSpec, Faults) {
	var in clusterWire
	c := clusterCheck{faults: DecodeStrict(req.Data, &in)}
	spec := ClusterSpec{
		Name:            c.name(in.Name, req.Cluster),
		Nodes:           c.number("nodes", in.Nodes, 3, 1, maxNodes),
		EtcdMembers:     c.number("etcd_members", in.EtcdMembers, 3, 1, 3),
		Proxies:         c.number("proxies", in.Proxies, 1, 1, 2),
		PostgresVersion: c.choice("postgres_version", in.PostgresVersion, "17"),
		MemoryMB:        c.number("memory_mb", in.MemoryMB, 1024, 256, 1<<20),
		CPUs:            c.cpus(in.CPUs),
		Parameters:      c.parameters(in.Parameters),
		PrimaryPort:     c.port("primary_port", in.PrimaryPort),
		ReplicaPort:     c.port("replica_port", in.ReplicaPort),
		BindAddress:     c.address(in.BindAddress),
		Labels:          c.labels(in.Labels),
		OnFailure:       c.choice("on_failure", in.OnFailure, "keep", "rollback"),
		TimeoutSeconds:  c.timeout(in.TimeoutSeconds),
	}
	if spec.EtcdMembers == 2 {
		c.faults.add("etcd_members", "must be 1 or 3: two members are no safer than one")
	}
	if spec.PrimaryPort != 0 && spec.PrimaryPort == spec.ReplicaPort {
		c.faults.add("replica_port", "must differ from primary_port")
	}
	spec.SynchronousMode = c.synchronous(in.SynchronousMode, spec.Nodes)
	spec.Users = c.users(in.Users)
	spec.Databases = c.databases(in.Databases, spec.Users)
	return spec, c.faults
}

// clusterCheck collects the faults of a cluster's specification.
type clusterCheck struct{ faults Faults }

func (c *clusterCheck) name(given *string, subject string) string {
	name := subject
	if given != nil {
		name = *given
	}
	switch {
	case !IsName(name):
		c.faults.add("name", "must be "+nameRule)
	case subject != "" && name != subject:
		c.faults.add("name", fmt.Sprintf("is %q, but the subject of the request says %q: give one of them, or the same twice", name, subject))
	}
	return name
}

// number is a whole number with a default and limits.
func (c *clusterCheck) number(field string, given *int, def, low, high int) int {
	if given == nil {
		return def
	}
	if *given < low || *given > high {
		c.faults.add(field, fmt.Sprintf("is %d; it must be %d to %d", *given, low, high))
	}
	return *given
}

// choice is one of several words, the first of them by default.
func (c *clusterCheck) choice(field string, given *string, words ...string) string {
	if given == nil {
		return words[0]
	}
	for _, w := range words {
		if *given == w {
			return w
		}
	}
	c.faults.add(field, "must be "+strings.Join(words, " or "))
	return words[0]
}

func (c *clusterCheck) cpus(given *float64) float64 {
	if given == nil {
		return 0
	}
	if *given < 0 || *given > 64 || *given > 0 && *given < 0.01 {
		c.faults.add("cpus", "must be 0 (no limit), or 0.01 to 64")
	}
	return *given
}

// synchronous is the mode of replication; by default an acknowledged row is on
// two nodes wherever there are two.
func (c *clusterCheck) synchronous(given *string, nodes int) string {
	mode := "off"
	if nodes >= 2 {
		mode = "on"
	}
	if given != nil {
		mode = c.choice("synchronous_mode", given, "off", "on", "strict")
	}
	if mode == "strict" && nodes < 2 {
		c.faults.add("synchronous_mode", "strict needs 2 nodes or more: with one, no write would ever be acknowledged")
	}
	return mode
}

func (c *clusterCheck) parameters(given map[string]scalar) map[string]string {
	if len(given) == 0 {
		return nil
	}
	if len(given) > maxParameters {
		c.faults.add("parameters", fmt.Sprintf("are %d; at most %d are taken", len(given), maxParameters))
		return nil
	}
	out := make(map[string]string, len(given))
	for _, name := range sortedKeys(given) {
		value, at := string(given[name]), member("parameters", name)
		switch {
		case !settingForm.MatchString(name):
			c.faults.add(at, "is not the name of a PostgreSQL setting")
		case utf8.RuneCountInString(value) > maxSetting || value != "" && !printable(value, maxSetting):
			c.faults.add(at, fmt.Sprintf("must be at most %d printable characters", maxSetting))
		default:
			out[name] = value
		}
	}
	return out
}

// users checks the login roles; "app" is always there and need not be named.
func (c *clusterCheck) users(given []UserSpec) []UserSpec {
	c.atMost("users", len(given))
	seen := map[string]bool{}
	var out []UserSpec
	for i, u := range given[:min(len(given), maxObjects)] {
		at := element("users", i) + ".name"
		switch fault := identifierFault(u.Name); {
		case fault != "":
			c.faults.add(at, fault)
		case seen[u.Name]:
			c.faults.add(at, "is given twice")
		case u.Name != AppUser:
			out = append(out, u)
		}
		seen[u.Name] = true
	}
	return out
}

// databases checks the databases and their owners; "app", owned by "app", is
// always there.
func (c *clusterCheck) databases(given []DatabaseSpec, users []UserSpec) []DatabaseSpec {
	c.atMost("databases", len(given))
	known := map[string]bool{"": true, AppUser: true}
	for _, u := range users {
		known[u.Name] = true
	}
	seen := map[string]bool{}
	var out []DatabaseSpec
	for i, db := range given[:min(len(given), maxObjects)] {
		at := element("databases", i)
		if fault := identifierFault(db.Name); fault != "" {
			c.faults.add(at+".name", fault)
		} else if seen[db.Name] {
			c.faults.add(at+".name", "is given twice")
		}
		seen[db.Name] = true
		if !known[db.Owner] {
			c.faults.add(at+".owner", fmt.Sprintf("must be one of the users, or %s", AppUser))
		}
		if db.Owner == "" {
			db.Owner = AppUser
		}
		out = append(out, db)
	}
	return out
}

func (c *clusterCheck) atMost(field string, n int) {
	if n > maxObjects {
		c.faults.add(field, fmt.Sprintf("are %d; at most %d are taken", n, maxObjects))
	}
}

func (c *clusterCheck) port(field string, given *int) int {
	if given == nil || *given == 0 {
		return 0
	}
	if *given < 1024 || *given > 65535 {
		c.faults.add(field, fmt.Sprintf("is %d; it must be 1024 to 65535, or 0 for any free one", *given))
	}
	return *given
}

func (c *clusterCheck) address(given *string) string {
	if given == nil || *given == "" {
		return "127.0.0.1"
	}
	ip, err := netip.ParseAddr(*given)
	if err != nil || ip.Zone() != "" || ip.IsMulticast() {
		c.faults.add("bind_address", "must be an IP address of the host, such as 127.0.0.1 or 0.0.0.0")
		return ""
	}
	return ip.String()
}

func (c *clusterCheck) labels(given map[string]string) map[string]string {
	if len(given) > maxLabels {
		c.faults.add("labels", fmt.Sprintf("are %d; at most %d are taken", len(given), maxLabels))
		return nil
	}
	for _, key := range sortedKeys(given) {
		at := member("labels", key)
		switch value := given[key]; {
		case !labelKeyForm.MatchString(key):
			c.faults.add(at, "the name must be 1 to 63 letters, digits, dots, dashes, slashes and underscores")
		case ownLabel(key):
			c.faults.add(at, "the name is reserved")
		case value != "" && !printable(value, maxLabelValue):
			c.faults.add(at, fmt.Sprintf("must be at most %d printable characters", maxLabelValue))
		}
	}
	return given
}

// ownLabel tells whether pgforeman or Docker keeps a label for itself.
func ownLabel(key string) bool {
	for _, prefix := range []string{"io.pgforeman", "com.docker.", "io.docker.", "org.dockerproject."} {
		if strings.HasPrefix(strings.ToLower(key), prefix) {
			return true
		}
	}
	return false
}

func (c *clusterCheck) timeout(given *int) int {
	if given == nil || *given == 0 {
		return 0
	}
	if *given < 30 || *given > 86400 {
		c.faults.add("timeout_seconds", fmt.Sprintf("is %d; it must be 30 to 86400, or 0 for none", *given))
	}
	return *given
}
