package etcd_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// startEtcd runs one member as a cluster does, with TLS, and waits for it.
func startEtcd(ctx context.Context, t *testing.T) etcd.Endpoint {
	t.Helper()
	name := "etcd-test-" + uuid.NewString()[:8]
	engine, err := docker.Open(docker.Options{Instance: name, Log: zerolog.Nop()})
	require.NoError(t, err)
	labels := docker.Labels{docker.LabelCluster: name}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if logs, err := engine.Logs(ctx, name, 50); t.Failed() {
			t.Logf("%s (%v):\n%s", name, err, logs)
		}
		require.NoError(t, engine.RemoveAll(ctx, labels, false))
		require.NoError(t, engine.Close())
	})
	require.NoError(t, engine.BuildImages(ctx, nil))

	authority, err := pki.NewAuthority(name, time.Now())
	require.NoError(t, err)
	certificate, key, err := authority.Issue(pki.CertRequest{CommonName: name, DNSNames: []string{name, "localhost"}}, time.Now())
	require.NoError(t, err)
	spec := docker.ContainerSpec{
		Name: name, Image: docker.EtcdImage.Tag(), Network: name, Labels: labels,
		Env: []string{"ETCD_NAME=" + name, "INITIAL_CLUSTER_TOKEN=" + name, "INITIAL_CLUSTER=" + name + "=https://" + name + ":2380"},
		Mounts: []docker.VolumeMount{
			{Volume: name + "-data", Target: "/data"}, {Volume: name + "-secret", Target: "/opt/secretpg"},
		},
		Tmpfs: map[string]string{"/tmp": "size=16m,uid=999,gid=999", "/run": "size=16m,uid=999,gid=999"},
		Ports: []docker.PortBinding{{ContainerPort: 2379}},
	}
	for file, data := range map[string][]byte{"ca.pem": authority.CertPEM, "node.pem": certificate, "node.key": key} {
		spec.Files = append(spec.Files, docker.File{Path: "/opt/secretpg/" + file, Mode: 0o400, UID: 999, GID: 999, Data: data})
	}
	_, err = engine.EnsureNetwork(ctx, docker.NetworkSpec{Name: name, Labels: labels})
	require.NoError(t, err)
	for _, m := range spec.Mounts {
		_, err = engine.EnsureVolume(ctx, docker.VolumeSpec{Name: m.Volume, Labels: labels})
		require.NoError(t, err)
	}
	container, err := engine.EnsureContainer(ctx, spec)
	require.NoError(t, err)

	conf, err := pki.ClientTLS(authority.CertPEM, nil, nil, name)
	require.NoError(t, err)
	endpoint := etcd.Endpoint{Address: container.Ports[2379].Addr(), TLS: conf}
	awaitHealthy(ctx, t, endpoint)
	return endpoint
}

func awaitHealthy(ctx context.Context, t *testing.T, endpoint etcd.Endpoint) {
	t.Helper()
	last := fmt.Errorf("not asked yet")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for last != nil {
		select {
		case <-ctx.Done():
			t.Fatalf("etcd does not become healthy: %v", last)
		case <-tick.C:
			_, last = etcd.Health(ctx, endpoint)
		}
	}
}
