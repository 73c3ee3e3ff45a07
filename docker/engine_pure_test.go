package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestExplainSortsTheEnginesAnswers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
	}{
		{fmt.Errorf("No such container: x: %w", cerrdefs.ErrNotFound), ErrNotFound},
		{fmt.Errorf("No such image: x: %w", cerrdefs.ErrNotFound), ErrImageMissing},
		{fmt.Errorf("name in use: %w", cerrdefs.ErrConflict), ErrConflict},
		{errors.New("network n id 1 has active endpoints"), ErrConflict},
		{errors.New("removal of container 1 is already in progress"), ErrConflict},
		{fmt.Errorf("bad parameter: %w", cerrdefs.ErrInvalidArgument), ErrInvalid},
		{fmt.Errorf("Range of CPUs is from 0.01 to 2.00: %w", cerrdefs.ErrInvalidArgument), ErrNoResources},
		{errors.New("write /x: no space left on device"), ErrNoResources},
		{errors.New("could not find an available, non-overlapping IPv4 address pool among the defaults"), ErrNoResources},
		{errors.New("all predefined address pools have been fully subnetted"), ErrNoResources},
		{errors.New("Bind for 127.0.0.1:5000 failed: port is already allocated"), ErrPortTaken},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, ErrUnavailable},
		{io.ErrUnexpectedEOF, ErrUnavailable},
		{errors.New("the engine stumbled"), ErrEngine},
	} {
		require.ErrorIs(t, explain(t.Context(), c.err), c.want, "%v", c.err)
	}
	require.NoError(t, explain(t.Context(), nil))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := explain(ended, io.EOF)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrUnavailable)
}

func TestPortTakenNamesThePort(t *testing.T) {
	for text, want := range map[string]int{
		"driver failed programming external connectivity on endpoint x (1f): Bind for 127.0.0.1:5000 failed: port is already allocated":                               5000,
		"driver failed programming external connectivity on endpoint x (1f): Error starting userland proxy: listen tcp4 127.0.0.1:5001: bind: address already in use": 5001,
		"failed to bind host port for 127.0.0.1:5002:172.17.0.2:80/tcp: address already in use":                                                                       5002,
		"failed to set up container networking: driver failed programming external connectivity: failed to bind host port 127.0.0.1:5003/tcp: address already in use": 5003,
		"address already in use": 0,
	} {
		var taken *PortTakenError
		require.ErrorAs(t, explain(t.Context(), errors.New(text)), &taken)
		require.Equal(t, want, taken.Port, text)
		require.ErrorIs(t, taken, ErrPortTaken)
	}
}

func TestSpecHashLeavesFileContentsOut(t *testing.T) {
	spec := func(change func(*ContainerSpec)) string {
		s := ContainerSpec{
			Name: "node-1", Image: "i", Network: "n", Labels: Labels{"a": "1", "b": "2"}, Env: []string{"A=1"},
			Files: []File{{Path: "/s/a", Mode: 0o400, Data: []byte("one")}}, Tmpfs: map[string]string{"/tmp": "", "/run": ""},
		}
		change(&s)
		hash, err := s.hash()
		require.NoError(t, err)
		return hash
	}
	same := spec(func(*ContainerSpec) {})
	require.Equal(t, same, spec(func(s *ContainerSpec) { s.Files[0].Data = []byte("two") }))
	require.Equal(t, same, spec(func(s *ContainerSpec) { s.Settle = time.Second }))
	require.NotEqual(t, same, spec(func(s *ContainerSpec) { s.Files[0].Mode = 0o600 }))
	require.NotEqual(t, same, spec(func(s *ContainerSpec) { s.Env = []string{"A=2"} }))
	require.NotEqual(t, same, spec(func(s *ContainerSpec) { s.Labels["a"] = "2" }))
	require.NotEqual(t, same, spec(func(s *ContainerSpec) { s.Ports = []PortBinding{{ContainerPort: 1}} }))
}

func TestSpecFaultsAreNamedAtOnce(t *testing.T) {
	err := ContainerSpec{
		Name: "x", Network: "host", RestartPolicy: "maybe",
		Mounts: []VolumeMount{{Volume: "/etc", Target: "/data"}, {Volume: "v", Target: "/"}},
		Files:  []File{{Path: "/etc/passwd"}, {Path: "/data/../etc/passwd"}},
		Ports:  []PortBinding{{ContainerPort: 70000}},
	}.check()
	require.ErrorIs(t, err, ErrInvalid)
	for _, part := range []string{
		"two characters", "no image", `network "host"`, `restart policy "maybe"`, `"/etc" is a path`, `at "/"`,
		`"/etc/passwd" is not inside`, `"/data/../etc/passwd" is not inside`, "port 70000",
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestVolumeOfTakesTheDeepestMount(t *testing.T) {
	mounts := []VolumeMount{{Volume: "outer", Target: "/data"}, {Volume: "inner", Target: "/data/wal"}}
	for file, want := range map[string]string{
		"/data/a": "outer", "/data/wal/a": "inner", "/data/walnut": "outer", "/database/a": "", "/data": "", "data/a": "",
	} {
		m, ok := volumeOf(mounts, file)
		require.Equal(t, want, m.Volume, file)
		require.Equal(t, want != "", ok, file)
	}
}

func TestArchiveMakesTheDirectoriesBetween(t *testing.T) {
	archive, err := archiveFor("/s", []File{
		{Path: "/s/a/b/c", Mode: 0o400, UID: 9, GID: 8, Data: []byte("x")}, {Path: "/s/a/d", Mode: 0o440, UID: 9, GID: 8},
	})
	require.NoError(t, err)
	var got []string
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%s %o %d:%d %d", h.Name, h.Mode, h.Uid, h.Gid, h.Size))
	}
	require.Equal(t, []string{"a/ 700 9:8 0", "a/b/ 700 9:8 0", "a/b/c 400 9:8 1", "a/d 440 9:8 0"}, got)
}

func TestHostPortPrefersIPv4AndDialsLoopback(t *testing.T) {
	hp, ok := hostPort([]nat.PortBinding{{HostIP: "::", HostPort: "1"}, {HostIP: "0.0.0.0", HostPort: "2"}})
	require.True(t, ok)
	require.Equal(t, "127.0.0.1:2", hp.Addr())
	require.Equal(t, "10.0.0.1:3", HostPort{IP: "10.0.0.1", Port: 3}.Addr())
	_, ok = hostPort(nil)
	require.False(t, ok)
}

func TestEveryContainerIsHardened(t *testing.T) {
	e := &Engine{instance: "i"}
	h := e.hostConfig(ContainerSpec{MemoryBytes: 1 << 20, Mounts: []VolumeMount{{Volume: "v", Target: "/v"}}})
	require.Equal(t, []string{"ALL"}, []string(h.CapDrop))
	require.Equal(t, []string{"no-new-privileges:true"}, h.SecurityOpt)
	require.True(t, h.ReadonlyRootfs)
	require.False(t, h.Privileged)
	require.Equal(t, container.IPCModePrivate, h.IpcMode)
	require.Equal(t, h.Memory, h.MemorySwap)
	require.Equal(t, "i", h.Mounts[0].VolumeOptions.Labels[LabelInstance])
}

func TestRedactBlacksOutFileContents(t *testing.T) {
	files := []File{{Data: []byte("correct horse battery\n")}, {Data: []byte("on")}}
	require.Equal(t, "password [redacted] is on", redact("password correct horse battery is on\n", files))
}

// An Engine that accepts a call and never answers must not hang a step.
func TestHangingEngineIsUnavailable(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	e, err := Open(Options{Host: "tcp://" + server.Listener.Addr().String(), Instance: "i", Log: zerolog.Nop()})
	require.NoError(t, err)
	defer e.Close()

	ctx, cancel := limit(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.Ping(ctx), ErrUnavailable)

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.Ping(ctx), context.DeadlineExceeded)
}

func TestAbsentEngineIsUnavailable(t *testing.T) {
	e, err := Open(Options{Host: "unix:///nonexistent/docker.sock", Instance: "i"})
	require.NoError(t, err)
	defer e.Close()
	require.ErrorIs(t, e.Ping(t.Context()), ErrUnavailable)
	_, err = e.EnsureNetwork(t.Context(), NetworkSpec{Name: "n"})
	require.ErrorIs(t, err, ErrUnavailable)

	_, err = Open(Options{Host: "nonsense", Instance: "i"})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = Open(Options{})
	require.ErrorIs(t, err, ErrInvalid)
}
