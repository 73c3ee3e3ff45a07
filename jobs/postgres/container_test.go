package postgres_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

const superPassword = "super-secret"

// testCluster is a real cluster as small as it can be: one etcd member and
// nodes, with TLS.
type testCluster struct {
	t         *testing.T
	engine    *docker.Engine
	name      string
	labels    docker.Labels
	authority pki.Authority
	client    *tls.Config // with the worker's certificate
}

func newTestCluster(ctx context.Context, t *testing.T) *testCluster {
	t.Helper()
	c := &testCluster{t: t, name: "pg-test-" + uuid.NewString()[:8]}
	c.labels = docker.Labels{docker.LabelCluster: c.name}
	var err error
	c.engine, err = docker.Open(docker.Options{Instance: c.name, Log: zerolog.Nop()})
	require.NoError(t, err)
	t.Cleanup(c.remove)
	require.NoError(t, c.engine.BuildImages(ctx, nil))
	c.authority, err = pki.NewAuthority(c.name, time.Now())
	require.NoError(t, err)
	certificate, key, err := c.authority.Issue(pki.CertRequest{CommonName: "worker"}, time.Now())
	require.NoError(t, err)
	c.client, err = pki.ClientTLS(c.authority.CertPEM, certificate, key, "")
	require.NoError(t, err)
	_, err = c.engine.EnsureNetwork(ctx, docker.NetworkSpec{Name: c.name, Labels: c.labels})
	require.NoError(t, err)

	etcd := c.name + "-etcd"
	c.start(ctx, docker.EtcdImage, etcd, nil,
		"ETCD_NAME="+etcd, "INITIAL_CLUSTER_TOKEN="+c.name, "INITIAL_CLUSTER="+etcd+"=https://"+etcd+":2380")
	return c
}

func (c *testCluster) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if c.t.Failed() {
		containers, err := c.engine.Containers(ctx, c.labels)
		require.NoError(c.t, err)
		for _, container := range containers {
			logs, err := c.engine.Logs(ctx, container.Name, 40)
			c.t.Logf("%s (%v):\n%s", container.Name, err, logs)
		}
	}
	require.NoError(c.t, c.engine.RemoveAll(ctx, c.labels, false))
	require.NoError(c.t, c.engine.Close())
}

// start runs a container of one of the images, its data and secrets in volumes.
func (c *testCluster) start(ctx context.Context, image docker.ImageName, name string, files map[string][]byte, env ...string) docker.Container {
	c.t.Helper()
	certificate, key, err := c.authority.Issue(pki.CertRequest{
		CommonName: name, DNSNames: []string{name, "localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, time.Now())
	require.NoError(c.t, err)
	all := map[string][]byte{"ca.pem": c.authority.CertPEM, "node.pem": certificate, "node.key": key}
	for file, data := range files {
		all[file] = data
	}
	spec := docker.ContainerSpec{
		Name: name, Image: image.Tag(), Network: c.name, Labels: c.labels, Env: env, StopTimeout: time.Minute,
		Mounts: []docker.VolumeMount{
			{Volume: name + "-data", Target: "/data"}, {Volume: name + "-secret", Target: "/opt/secretpg"},
		},
		Tmpfs: map[string]string{"/tmp": "size=64m,uid=999,gid=999", "/run": "size=16m,uid=999,gid=999"},
		Ports: []docker.PortBinding{{ContainerPort: 5432}, {ContainerPort: 8008}},
	}
	for file, data := range all {
		spec.Files = append(spec.Files, docker.File{Path: "/opt/secretpg/" + file, Mode: 0o400, UID: 999, GID: 999, Data: data})
	}
	for _, m := range spec.Mounts {
		_, err = c.engine.EnsureVolume(ctx, docker.VolumeSpec{Name: m.Volume, Labels: c.labels})
		require.NoError(c.t, err)
	}
	container, err := c.engine.EnsureContainer(ctx, spec)
	require.NoError(c.t, err)
	return container
}

// testNode is a node and how to reach it.
type testNode struct {
	name     string
	patroni  *patroni.Client
	postgres postgres.Endpoint
}

func (c *testCluster) startNode(ctx context.Context, short string) testNode {
	c.t.Helper()
	dcs, err := patroni.BootstrapDCS(patroni.Spec{
		MemoryMB: 512, SyncMode: patroni.SyncOn, Timing: patroni.Timing{TTL: 20, LoopWait: 1, RetryTimeout: 5},
		Parameters: map[string]string{"log_statement": "all", "search_path": `"it's", public`},
	})
	require.NoError(c.t, err)
	name := c.name + "-" + short
	container := c.start(ctx, docker.PatroniImage, name, map[string][]byte{
		"superuser-password": []byte(superPassword), "replicator-password": []byte("r-secret"), "rewind-password": []byte("w-secret"),
		"dcs.json": dcs,
	}, "SCOPE="+c.name, "PATRONI_NAME="+name, "ETCD_HOSTS="+c.name+"-etcd:2379")
	node := testNode{
		name:     name,
		patroni:  patroni.New(patroni.Endpoint{Address: container.Ports[8008].Addr(), ServerName: name, TLS: c.client}),
		postgres: postgres.Endpoint{Address: container.Ports[5432].Addr(), ServerName: name, TLS: c.client},
	}
	c.t.Cleanup(node.patroni.Close)
	return node
}

func (n testNode) open(t *testing.T, login postgres.Login) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(n.postgres, login)
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

var errNotYet = errors.New("not yet")

// await asks again until there is no error.
func await(ctx context.Context, t *testing.T, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// is turns a health check's answer into an error for await.
func is(yes bool, err error) error {
	if err == nil && !yes {
		err = fmt.Errorf("the answer is no: %w", errNotYet)
	}
	return err
}
