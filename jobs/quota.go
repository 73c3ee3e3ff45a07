package jobs

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Resources are what clusters are given: those of one request, those that a
// tenant uses, or those that it may use (a quota, where 0 means no limit). They
// are what requests ask for: the containers of etcd and the proxies, which are
// small and the same for all, are not counted.
type Resources struct {
	Clusters int     `json:"clusters"`
	Nodes    int     `json:"nodes"`
	CPUs     float64 `json:"cpus"`      // of all nodes together
	MemoryMB int64   `json:"memory_mb"` // of all nodes together, MiB
}

// Resources are what the cluster is given when it is as specified.
func (s ClusterSpec) Resources() Resources {
	return Resources{
		Clusters: 1, Nodes: s.Nodes, CPUs: float64(s.Nodes) * s.CPUs, MemoryMB: int64(s.Nodes) * int64(s.MemoryMB),
	}
}

// Quotas are the limits of all tenants.
type Quotas struct {
	// Default is for every tenant that Tenants does not name.
	Default Resources
	Tenants map[string]Resources
}

// Of is one tenant's quota.
func (q Quotas) Of(tenant string) Resources {
	if own, ok := q.Tenants[tenant]; ok {
		return own
	}
	return q.Default
}

// Limited tells whether the quota limits anything.
func (quota Resources) Limited() bool { return quota != (Resources{}) }

// Allow refuses what is asked beside what is used already, with quota_exceeded
// and all the numbers, where it is more than the quota; nil where it is not. A
// cluster that asks for no CPU limit of its own has no place in a quota of CPUs.
func (quota Resources) Allow(tenant string, asked, used Resources) *Error {
	var over []string
	check := func(what string, asked, used, limit float64) {
		if limit > 0 && used+asked > limit*(1+1e-9) {
			over = append(over, fmt.Sprintf("%s: asked for %s, used %s, limit %s", what, plain(asked), plain(used), plain(limit)))
		}
	}
	check("clusters", float64(asked.Clusters), float64(used.Clusters), float64(quota.Clusters))
	check("nodes", float64(asked.Nodes), float64(used.Nodes), float64(quota.Nodes))
	if quota.CPUs > 0 && asked.CPUs == 0 && asked.Nodes > 0 {
		over = append(over, fmt.Sprintf("cpus: asked for nodes without a limit (say how many with cpus), used %s, limit %s",
			plain(used.CPUs), plain(quota.CPUs)))
	}
	check("cpus", asked.CPUs, used.CPUs, quota.CPUs)
	check("memory_mb", float64(asked.MemoryMB), float64(used.MemoryMB), float64(quota.MemoryMB))
	if len(over) == 0 {
		return nil
	}
	return &Error{Code: CodeQuota, Message: fmt.Sprintf(
		"the quota of tenant %s is exceeded: %s; ask for less, delete a cluster, or have the quota raised",
		tenant, strings.Join(over, "; "))}
}

// plain is a number without needless digits.
func plain(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// quotaWire is a tenant's quota as a file of quotas has it: what is left out is
// as it is for every tenant.
type quotaWire struct {
	Clusters *int     `json:"clusters"`
	Nodes    *int     `json:"nodes"`
	CPUs     *float64 `json:"cpus"`
	MemoryMB *int64   `json:"memory_mb"`
}

// ParseQuotas reads tenants' own quotas, a JSON object such as
//
//	{"acme": {"clusters": 5, "memory_mb": 65536}, "lab": {"nodes": 0}}
//
// beside the one for every tenant. What a tenant's leaves out is as in def, 0
// is no limit. Every fault is told at once, as Faults.
func ParseQuotas(def Resources, raw []byte) (Quotas, error) {
	q := Quotas{Default: def, Tenants: map[string]Resources{}}
	faults := quotaFaults("", def)
	file := map[string]quotaWire{}
	faults = append(faults, DecodeStrict(raw, &file)...)
	tenants := make([]string, 0, len(file))
	for tenant := range file {
		tenants = append(tenants, tenant)
	}
	sort.Strings(tenants)
	for _, tenant := range tenants {
		if !IsName(tenant) {
			faults.add(member("", tenant), "is not the name of a tenant, which is "+nameRule)
		}
		own, wire := def, file[tenant]
		put(&own.Clusters, wire.Clusters)
		put(&own.Nodes, wire.Nodes)
		put(&own.CPUs, wire.CPUs)
		put(&own.MemoryMB, wire.MemoryMB)
		faults = append(faults, quotaFaults(tenant, own)...)
		q.Tenants[tenant] = own
	}
	return q, faults.Err()
}

// put replaces a value by one that is given.
func put[T any](at *T, given *T) {
	if given != nil {
		*at = *given
	}
}

func quotaFaults(tenant string, r Resources) Faults {
	var faults Faults
	for _, limit := range []struct {
		field string
		value float64
	}{
		{"clusters", float64(r.Clusters)}, {"nodes", float64(r.Nodes)}, {"cpus", r.CPUs}, {"memory_mb", float64(r.MemoryMB)},
	} {
		if limit.value < 0 {
			faults.add(member(tenant, limit.field), "is "+plain(limit.value)+"; a limit is 0 (none) or more")
		}
	}
	return faults
}
