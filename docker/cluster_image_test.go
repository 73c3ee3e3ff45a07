package docker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// imageCluster is a cluster started from the images as a worker starts one: hardened,
// with limits, secrets as files.
type imageCluster struct {
	t        *testing.T
	engine   *Engine
	name     string // network, and prefix of every other name
	tls      bool
	caKey    *ecdsa.PrivateKey
	ca       *x509.Certificate
	password string
}

func newImageCluster(t *testing.T, tls bool) *imageCluster {
	t.Helper()
	c := &imageCluster{t: t, engine: testEngine(t), name: unique("img"), tls: tls, password: "s3cret:\\" + uuid.NewString()}
	require.NoError(t, c.engine.BuildImages(t.Context(), nil))
	_, err := c.engine.EnsureNetwork(t.Context(), NetworkSpec{Name: c.name})
	require.NoError(t, err)
	if tls {
		c.caKey, c.ca = newAuthority(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.showLogs()
		}
	})
	return c
}

func (c *imageCluster) named(short string) string { return c.name + "-" + short }

// spec is what all containers of the images have in common.
func (c *imageCluster) spec(image ImageName, short, alias string, env ...string) ContainerSpec {
	name := c.named(short)
	spec := ContainerSpec{
		Name: name, Image: image.Tag(), Network: c.name, Aliases: []string{alias}, Env: env,
		Tmpfs: map[string]string{
			"/tmp": "rw,nosuid,nodev,noexec,size=64m,uid=999,gid=999,mode=1777",
			"/run": "rw,nosuid,nodev,noexec,size=16m,uid=999,gid=999,mode=0755",
		},
		MemoryBytes: 512 << 20, NanoCPUs: 2e9, PidsLimit: 256, StopTimeout: time.Minute,
	}
	for _, volume := range []VolumeMount{{name + "-secret", "/opt/secretpg"}, {name + "-data", "/data"}} {
		_, err := c.engine.EnsureVolume(c.t.Context(), VolumeSpec{Name: volume.Volume})
		require.NoError(c.t, err)
		spec.Mounts = append(spec.Mounts, volume)
	}
	if c.tls {
		certificate, key := c.issue(name, alias)
		spec.Files = append(spec.Files, secretFile("ca.pem", pemOf("CERTIFICATE", c.ca.Raw)),
			secretFile("node.pem", certificate), secretFile("node.key", key))
	}
	return spec
}

func (c *imageCluster) startEtcd() {
	scheme := "http"
	if c.tls {
		scheme = "https"
	}
	name := c.named("etcd")
	c.start(c.spec(EtcdImage, "etcd", "etcd", "ETCD_NAME="+name, "INITIAL_CLUSTER_TOKEN="+c.name,
		"INITIAL_CLUSTER="+name+"="+scheme+"://"+name+":2380"))
}

func (c *imageCluster) nodeSpec(short string, env ...string) ContainerSpec {
	spec := c.spec(PatroniImage, short, "nodes", append(env,
		"SCOPE="+c.name, "PATRONI_NAME="+c.named(short), "ETCD_HOSTS="+c.named("etcd")+":2379")...)
	spec.ShmBytes = 128 << 20
	escaped := strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(c.password)
	spec.Files = append(spec.Files, secretFile("superuser-password", c.password+"\n"),
		secretFile("replicator-password", c.password), secretFile("rewind-password", c.password),
		secretFile("etcd-password", "etcd-"+c.name), secretFile("test-pgpass", "*:*:*:postgres:"+escaped+"\n"))
	return spec
}

func (c *imageCluster) start(spec ContainerSpec) {
	c.t.Helper()
	_, err := c.engine.EnsureContainer(c.t.Context(), spec)
	require.NoError(c.t, err)
}

// run executes a command and returns what it printed; an error holds what it complained of.
func (c *imageCluster) run(short string, command ...string) (string, error) {
	result, err := c.engine.Exec(c.t.Context(), c.named(short), command, nil)
	if err != nil {
		return "", err
	}
	if result.ExitCode != 0 {
		return "", fmt.Errorf("%s: exit code %d: %s%s", command[0], result.ExitCode, result.Stdout, result.Stderr)
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// sql asks one node over its socket, as an administrator with docker exec does.
func (c *imageCluster) sql(short, statement string) (string, error) {
	return c.run(short, "psql", "-U", "postgres", "-XAtqc", statement)
}

// sqlVia asks from inside of node "a", over the network.
func (c *imageCluster) sqlVia(host string, port int, sslmode, statement string) (string, error) {
	return c.run("a", "psql", "-XAtqc", statement, fmt.Sprintf("host=%s port=%d user=postgres sslmode=%s "+
		"sslrootcert=/opt/secretpg/ca.pem passfile=/opt/secretpg/test-pgpass connect_timeout=10", host, port, sslmode))
}

// await waits until ask answers want.
func (c *imageCluster) await(want string, ask func() (string, error)) {
	c.t.Helper()
	eventually(c.t, func() error {
		got, err := ask()
		if err == nil && got != want {
			err = fmt.Errorf("want %q, see %q", want, got)
		}
		return err
	})
}

// showLogs shows what the containers said; the test's own context has ended by then.
func (c *imageCluster) showLogs() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	containers, err := c.engine.Containers(ctx, nil)
	if err != nil {
		c.t.Log(err)
	}
	for _, container := range containers {
		logs, err := c.engine.Logs(ctx, container.Name, 60)
		c.t.Logf("%s (%v):\n%s", container.Name, err, logs)
	}
}

func secretFile(name, text string) File {
	return File{Path: "/opt/secretpg/" + name, Mode: 0o400, UID: 999, GID: 999, Data: []byte(text)}
}

func newAuthority(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "images test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return key, certificate
}

// issue makes the one certificate that a container has, for all that it serves and calls.
func (c *imageCluster) issue(names ...string) (certificate, key string) {
	c.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(c.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: c.ca.NotBefore, NotAfter: c.ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    append(names, "localhost"), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.ca, &private.PublicKey, c.caKey)
	require.NoError(c.t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(c.t, err)
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", encoded)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
