package docker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestImagesRefuseHostileValues gives each entrypoint values that would mean something
// to a shell, to YAML or to a configuration file: the container ends with a sentence
// that names the variable or the file.
func TestImagesRefuseHostileValues(t *testing.T) {
	if testing.Short() {
		t.Skip("starts containers")
	}
	t.Parallel()
	c := newImageCluster(t, false)
	etcd := []string{"ETCD_NAME=" + c.named("x"), "INITIAL_CLUSTER=x=http://x:2380", "INITIAL_CLUSTER_TOKEN=t"}
	for _, test := range []struct {
		image ImageName
		env   []string // the last one is the hostile one
		want  string
	}{
		{EtcdImage, append(etcd, "ETCD_NAME=$(touch /tmp/x)"), "ETCD_NAME"},
		{EtcdImage, append(etcd, "ETCD_NAME=a\n--force-new-cluster"), "ETCD_NAME"},
		{EtcdImage, append(etcd, "INITIAL_CLUSTER=x=http://x:2380 --force-new-cluster"), "INITIAL_CLUSTER"},
		{EtcdImage, append(etcd, "INITIAL_CLUSTER_STATE=maybe"), "INITIAL_CLUSTER_STATE"},
		{PatroniImage, []string{"SCOPE=a: {b: c}"}, "SCOPE"},
		{PatroniImage, []string{"SCOPE=`id`"}, "SCOPE"},
		{PatroniImage, []string{"ETCD_HOSTS=e:2379\npassword: x"}, "ETCD_HOSTS"},
		{PatroniImage, []string{"PATRONI_NAME="}, "PATRONI_NAME"},
		{PatroniImage, []string{"CLONEFROM=yes; id"}, "CLONEFROM"},
		{PatroniImage, []string{"PGDATA=/data/x y"}, "PGDATA"},
		{HAProxyImage, []string{"PRIMARY_PORT=5000 ssl"}, "PRIMARY_PORT"},
		{HAProxyImage, []string{"MAX_NODES=0"}, "MAX_NODES"},
		{HAProxyImage, []string{"NODES_HOST=nodes\nfrontend x"}, "NODES_HOST"},
	} {
		spec := c.nodeSpec(unique("bad"))
		spec.Image, spec.Env = test.image.Tag(), override(spec.Env, test.env)
		require.Contains(t, c.refusal(spec), "pgforeman: "+test.want)
	}

	for file, content := range map[string]string{
		"dcs.json":           `{"ttl": 20, "x": !!python/object/apply:os.system ["id"]}`,
		"rewind-password":    "two\nlines",
		"superuser-password": "",
		"ca.pem":             "a CA without a certificate",
	} {
		spec := c.nodeSpec(unique("bad"))
		spec.Files = append(spec.Files, secretFile(file, content))
		refusal := c.refusal(spec)
		require.Contains(t, refusal, "pgforeman: /opt/secretpg/")
		require.NotContains(t, refusal, c.password)
	}
}

// override replaces the variables that the additions set.
func override(env, additions []string) []string {
	set := map[string]string{}
	var order []string
	for _, pair := range append(env, additions...) {
		name, value, _ := strings.Cut(pair, "=")
		if _, seen := set[name]; !seen {
			order = append(order, name)
		}
		set[name] = value
	}
	result := make([]string, len(order))
	for i, name := range order {
		result[i] = name + "=" + set[name]
	}
	return result
}

// refusal runs a container that must end by itself, at once and without success, and
// returns what it said.
func (c *imageCluster) refusal(spec ContainerSpec) string {
	c.t.Helper()
	// An error here is the one that the container ended too soon.
	_, started := c.engine.EnsureContainer(c.t.Context(), spec)
	eventually(c.t, func() error {
		container, err := c.engine.Container(c.t.Context(), spec.Name)
		if err == nil && (container.State != StateExited || container.ExitCode != 64) {
			err = fmt.Errorf("%s, exit code %d, %w", container.State, container.ExitCode, started)
		}
		return err
	})
	logs, err := c.engine.Logs(c.t.Context(), spec.Name, 20)
	require.NoError(c.t, err)
	return logs
}
