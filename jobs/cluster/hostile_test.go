package cluster

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// What the images' entrypoints take (docker/base/entry.sh) and the Engine's rule
// for names.
var (
	imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	imageText = regexp.MustCompile(`^[A-Za-z0-9._:/=,-]+$`)
	boxName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
)

// FuzzHostileSpec looks for the data of a request that is taken and breaks out of
// a container's specification or a connection string.
func FuzzHostileSpec(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"nodes":9,"etcd_members":1,"proxies":2,"bind_address":"0.0.0.0"}`,
		`{"labels":{"a":"$(id)","b":"x\" --privileged","io.pgforeman.instance":"other","IO.pgforeman.x":"y","c":"{{.X}}","d":""}}`,
		`{"users":[{"name":"a\"; DROP TABLE x; --"}]}`, `{"users":[{"name":"shop"}],"databases":[{"name":"d","owner":"shop"}]}`,
		`{"users":[{"name":"app@host"}],"databases":[{"name":"x?sslmode=disable"}]}`, `{"name":"../../etc"}`, `{"name":"a\nb"}`,
		`{"parameters":{"search_path":"'; x","archive_command":"id"}}`, `{"parameters":{"work_mem":"8MB\nfsync = off"}}`,
		`{"bind_address":"::1"}`, `{"bind_address":"127.0.0.1 --privileged"}`, `{"labels":{"com.docker.compose.project":"x"}}`,
	} {
		f.Add("orders", []byte(seed))
	}
	f.Add("a-b", []byte(`{"cpus":0.5}`))
	f.Add("-", []byte(`{}`))
	f.Add("a.b", []byte(`{}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		spec, faults := jobs.DecodeClusterSpec(jobs.Request{Cluster: name, Data: data})
		if faults = append(faults, checkParameters(spec)...); len(faults) > 0 {
			return
		}
		raw, err := json.Marshal(spec)
		require.NoError(t, err)
		s, err := siteOf(jobs.Cluster{ID: "0198a1b2-0000-7000-8000-0123456789ab", Tenant: "acme", Name: spec.Name, Spec: raw})
		require.NoError(t, err)
		checkBoxes(t, s)
		checkURIs(t, s)
	})
}

// checkBoxes checks what the containers of the cluster are made of.
func checkBoxes(t *testing.T, s site) {
	t.Helper()
	ports := map[string]int{}
	for i, w := range s.portWants() {
		ports[w.Name] = 25000 + i
	}
	for _, p := range s.parts() {
		var box docker.ContainerSpec
		switch p.role {
		case roleEtcd:
			box = s.etcdSpec(p.name, keys{})
		case roleNode:
			var err error
			box, err = s.nodeSpec(p.name, keys{})
			require.NoError(t, err)
		case roleProxy:
			box = s.proxySpec(p.name, keys{}, ports)
		}
		for _, name := range []string{box.Name, box.Network, box.Hostname} {
			require.Regexp(t, boxName, name)
			require.LessOrEqual(t, len(name), 63)
		}
		for _, pair := range box.Env {
			key, value, _ := strings.Cut(pair, "=")
			form := imageText
			if slices.Contains([]string{"ETCD_NAME", "SCOPE", "PATRONI_NAME", "ETCD_USERNAME", "NODES_HOST"}, key) {
				form = imageName
			}
			require.Regexp(t, form, value, key)
			require.LessOrEqual(t, len(value), 4096, key)
		}
		for _, m := range box.Mounts {
			require.Regexp(t, boxName, m.Volume)
		}
		checkLabels(t, s, p, box.Labels)
		require.Empty(t, box.User+strings.Join(box.Cmd, "")+strings.Join(box.Entrypoint, ""), "the image's own")
		require.True(t, box.MemoryBytes > 0 && box.PidsLimit > 0 && box.CPUShares > 0)
	}
}

// checkLabels checks that the owner's labels are there and none of them is one
// by which things are found.
func checkLabels(t *testing.T, s site, p part, got docker.Labels) {
	t.Helper()
	want := docker.Labels{
		docker.LabelTenant: s.Tenant, docker.LabelCluster: s.Name, docker.LabelClusterID: s.ID,
		docker.LabelRole: p.role, docker.LabelNode: p.name,
	}
	maps.Copy(want, s.spec.Labels) // would show if one of them hid one of ours
	require.Equal(t, want, got)
	for name := range s.spec.Labels {
		require.False(t, strings.HasPrefix(strings.ToLower(name), "io.pgforeman"))
	}
}

// checkURIs reads every connection string as a client does.
func checkURIs(t *testing.T, s site) {
	t.Helper()
	w := newWorld()
	w.secrets = map[string][]byte{caCert: []byte("x")}
	for _, u := range s.users() {
		w.secrets[passwordOf(u)] = newPassword()
	}
	c, err := New(Deps{Engine: w, State: w, probe: newAnswers(w)})
	require.NoError(t, err)
	for _, user := range s.users() {
		creds, err := c.Credentials(t.Context(), s.Cluster, user)
		require.NoError(t, err)
		for _, uri := range []string{creds.PrimaryURI, creds.ReplicaURI} {
			conf, err := pgx.ParseConfig(uri)
			require.NoError(t, err)
			require.Equal(t, user, conf.User)
			require.Equal(t, string(w.secrets[passwordOf(user)]), conf.Password)
			require.Equal(t, s.databaseOf(user), conf.Database)
			require.NotNil(t, conf.TLSConfig, "TLS is not asked for")
			for _, other := range conf.Fallbacks {
				require.NotNil(t, other.TLSConfig, "plaintext is tried too")
			}
		}
	}
}
