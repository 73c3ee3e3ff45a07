package jobs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func asUnreadable(err error, into **jobs.Unreadable) bool { return errors.As(err, into) }

func decodeCluster(data string) (jobs.ClusterSpec, jobs.Faults) {
	return jobs.DecodeClusterSpec(jobs.Request{Cluster: "orders", Data: json.RawMessage(data)})
}

func TestClusterSpecDefaults(t *testing.T) {
	spec, faults := decodeCluster(`{}`)
	require.NoError(t, faults.Err())
	require.Equal(t, jobs.ClusterSpec{
		Name: "orders", Nodes: 3, EtcdMembers: 3, Proxies: 1, PostgresVersion: "17", MemoryMB: 1024,
		SynchronousMode: "on", BindAddress: "127.0.0.1", OnFailure: "keep",
	}, spec)
	one, faults := decodeCluster(`{"nodes":1,"name":null}`)
	require.NoError(t, faults.Err())
	require.Equal(t, "off", one.SynchronousMode)
}

func TestClusterSpecIsStableInItsCanonicalForm(t *testing.T) {
	spec, faults := decodeCluster(`{"name":"orders","nodes":2,"etcd_members":1,"proxies":2,"cpus":1.5,"memory_mb":512,
		"synchronous_mode":"strict","parameters":{"work_mem":"8MB","max_connections":50,"autovacuum":true,"jit":false},
		"users":[{"name":"shop"},{"name":"app"}],"databases":[{"name":"shopdb","owner":"shop"},{"name":"other"}],
		"primary_port":15000,"replica_port":15001,"bind_address":"::1","labels":{"team":"a/b"},
		"on_failure":"rollback","timeout_seconds":600}`)
	require.NoError(t, faults.Err())
	require.Equal(t, map[string]string{"work_mem": "8MB", "max_connections": "50", "autovacuum": "on", "jit": "off"}, spec.Parameters)
	require.Equal(t, []jobs.UserSpec{{Name: "shop"}}, spec.Users)
	require.Equal(t, []jobs.DatabaseSpec{{Name: "shopdb", Owner: "shop"}, {Name: "other", Owner: "app"}}, spec.Databases)
	canonical, err := json.Marshal(spec)
	require.NoError(t, err)
	again, faults := decodeCluster(string(canonical))
	require.NoError(t, faults.Err())
	require.Equal(t, spec, again)
}

func TestClusterSpecFaults(t *testing.T) {
	many := func(n int, form string) string {
		var items []string
		for i := range n {
			items = append(items, fmt.Sprintf(form, i))
		}
		return strings.Join(items, ",")
	}
	for data, fields := range map[string][]string{
		`[]`:                                      {"data"},
		`"x"`:                                     {"data"},
		`{"name":"other"}`:                        {"name"},
		`{"name":"Orders"}`:                       {"name"},
		`{"nodes":0,"etcd_members":2}`:            {"nodes", "etcd_members"},
		`{"nodes":"3"}`:                           {"nodes"},
		`{"nodes":3.5}`:                           {"nodes"},
		`{"nodes":99999999999999999999}`:          {"nodes"},
		`{"Nodes":3}`:                             {"Nodes"},
		`{"nodes":1,"nodes":2}`:                   {"nodes"},
		`{"proxies":3,"cpus":-1}`:                 {"proxies", "cpus"},
		`{"memory_mb":255}`:                       {"memory_mb"},
		`{"postgres_version":"16"}`:               {"postgres_version"},
		`{"postgres_version":17}`:                 {"postgres_version"},
		`{"nodes":1,"synchronous_mode":"strict"}`: {"synchronous_mode"},
		`{"synchronous_mode":"yes"}`:              {"synchronous_mode"},
		`{"parameters":{"work_mem":{},"a b":1,"x":"a\nb"}}`: {"parameters.work_mem", `parameters."a b"`, "parameters.x"},
		`{"parameters":[]}`:                                     {"parameters"},
		`{"primary_port":80,"replica_port":70000}`:              {"primary_port", "replica_port"},
		`{"primary_port":5000,"replica_port":5000}`:             {"replica_port"},
		`{"bind_address":"localhost"}`:                          {"bind_address"},
		`{"bind_address":"fe80::1%eth0"}`:                       {"bind_address"},
		`{"on_failure":"explode","timeout_seconds":5}`:          {"on_failure", "timeout_seconds"},
		`{"labels":{"io.pgforeman.x":"a","b":"\u0007","":"c"}}`: {`labels.""`, "labels.b", "labels.io.pgforeman.x"},
		`{"labels":{` + many(33, `"l%d":"x"`) + `}}`:            {"labels"},
		`{"users":[{"name":"postgres"},{"name":"pg_x"},{"name":"a-b"},{"name":"x"},{"name":"x"},{}]}`: {
			"users[0].name", "users[1].name", "users[2].name", "users[4].name", "users[5].name"},
		`{"users":[` + many(51, `{"name":"u%d"}`) + `]}`: {"users"},
		`{"users":[{"name":"a","password":"x"}],"databases":[{"nme":"d"},{"name":"template1","owner":"z"},7]}`: {
			"databases[0].nme", "databases[2]", "users[0].password", "databases[0].name",
			"databases[1].name", "databases[1].owner", "databases[2].name"},
	} {
		t.Run(data[:min(len(data), 60)], func(t *testing.T) {
			_, faults := decodeCluster(data)
			for i, f := range faults {
				if strings.HasPrefix(f.Field, `labels."io.`) {
					faults[i].Field = "labels.io.pgforeman.x"
				}
			}
			requireFaults(t, faults.Err(), fields...)
		})
	}
}

func TestFaultsAreLimited(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `,"field%s%d":1`, strings.Repeat("x", 40), i)
	}
	_, faults := decodeCluster("{" + b.String()[1:] + "}")
	require.Len(t, faults, 51)
	require.Less(t, len(faults.Error()), 64<<10)
}

// FuzzDecodeClusterSpec looks for data that panics, or that is accepted and
// does not survive its canonical form.
func FuzzDecodeClusterSpec(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"name":"orders","nodes":3,"parameters":{"work_mem":"8MB","x":1e3,"y":true},"labels":{"a":"b"}}`))
	f.Add([]byte(`{"users":[{"name":"a"}],"databases":[{"name":"d","owner":"a"}],"bind_address":"::ffff:1.2.3.4"}`))
	f.Add([]byte(`{"databases":[null,{"name":null}],"cpus":1e-3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, faults := decodeCluster(string(data))
		if len(faults) > 0 {
			require.LessOrEqual(t, len(faults), 60)
			return
		}
		require.True(t, spec.Nodes >= 1 && spec.Nodes <= 9)
		canonical, err := json.Marshal(spec)
		require.NoError(t, err)
		again, faults := decodeCluster(string(canonical))
		require.NoError(t, faults.Err(), "%s", canonical)
		require.Equal(t, spec, again)
	})
}
