package docker

import (
	"errors"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
)

func testContainerIdempotent(t *testing.T, b bench) {
	spec := b.spec(t)
	first, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, first.Running())
	require.Equal(t, HealthNone, first.Health)
	require.Equal(t, spec.Image, first.Image)

	second, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, first.StartedAt, second.StartedAt, "it must not be restarted")

	require.NoError(t, b.KillContainer(t.Context(), spec.Name, "KILL"))
	eventually(t, func() error {
		c, err := b.Container(t.Context(), spec.Name)
		if err == nil && c.State != StateExited {
			err = errors.New("it is " + string(c.State))
		}
		return err
	})
	third, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, first.ID, third.ID, "one that died is started again")
	require.True(t, third.Running())

	all, err := b.Containers(t.Context(), spec.Labels)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, third, all[0])
}

func testContainerTenAtOnce(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Files = []File{{Path: "/secret/password", Mode: 0o400, UID: 999, GID: 999, Data: []byte("x")}}
	all, err := atOnce(func() (Container, error) { return b.EnsureContainer(t.Context(), spec) })
	require.NoError(t, err)
	for _, c := range all {
		require.Equal(t, all[0].ID, c.ID)
		require.True(t, c.Running())
	}
	require.Equal(t, "x", b.run(t, spec.Name, "cat", "/secret/password"))
}

// A worker that died between create and start may have copied nothing, half, or old files.
func testContainerHalfMade(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Files = []File{{Path: "/secret/a", Mode: 0o444, Data: []byte("new")}}
	hash, err := spec.hash()
	require.NoError(t, err)
	half, err := b.createContainer(t.Context(), spec, hash)
	require.NoError(t, err)
	require.Equal(t, StateCreated, half.State)
	require.NoError(t, b.PutFiles(t.Context(), spec.Name, []File{{Path: "/secret/a", Mode: 0o444, Data: []byte("old")}}))

	whole, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, half.ID, whole.ID)
	require.Equal(t, "new", b.run(t, spec.Name, "cat", "/secret/a"))
}

func testContainerChanged(t *testing.T, b bench) {
	spec := b.spec(t)
	first, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, b.PutFiles(t.Context(), spec.Name, []File{{Path: "/secret/kept", Mode: 0o444, Data: []byte("data")}}))

	spec.Env = []string{"CHANGED=yes"}
	second, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, "data", b.run(t, spec.Name, "cat", "/secret/kept"), "the volume outlives the container")
	_, err = b.Container(t.Context(), first.ID)
	require.ErrorIs(t, err, ErrNotFound)
}

// Someone pruned networks while the cluster was stopped.
func testContainerNetworkMadeAnew(t *testing.T, b bench) {
	spec := b.spec(t)
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, b.StopContainer(t.Context(), spec.Name, time.Second))
	inv, err := b.Inventory(t.Context(), spec.Labels)
	require.NoError(t, err)
	require.NoError(t, b.Remove(t.Context(), Inventory{Networks: inv.Networks}))

	require.ErrorContains(t, b.StartContainer(t.Context(), spec.Name), "made anew")
	_, err = b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, spec.Network)
	_, err = b.EnsureNetwork(t.Context(), NetworkSpec{Name: spec.Network, Labels: spec.Labels})
	require.NoError(t, err)
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, c.Running())
}

func testContainerPaused(t *testing.T, b bench) {
	spec := b.spec(t)
	first, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, b.cli.ContainerPause(t.Context(), first.ID))
	second, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, first.ID, second.ID)
	require.True(t, second.Running())
}

func testContainerHardened(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Ports = []PortBinding{{ContainerPort: 8080}}
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)

	status := b.run(t, spec.Name, "cat", "/proc/1/status")
	require.Contains(t, status, "CapEff:\t0000000000000000")
	require.Contains(t, status, "CapBnd:\t0000000000000000")
	require.Contains(t, status, "NoNewPrivs:\t1")
	require.Contains(t, status, "Uid:\t999")
	r, err := b.Exec(t.Context(), spec.Name, []string{"/probe", "write", "/x", "y"}, nil)
	require.NoError(t, err)
	require.NotZero(t, r.ExitCode, "the root must be read-only")
	b.run(t, spec.Name, "write", "/tmp/x", "y")

	j, err := b.cli.ContainerInspect(t.Context(), c.ID)
	require.NoError(t, err)
	require.False(t, j.HostConfig.Privileged)
	require.True(t, j.HostConfig.ReadonlyRootfs)
	require.Equal(t, container.IPCModePrivate, j.HostConfig.IpcMode)
	require.Empty(t, j.HostConfig.PidMode)
	require.Empty(t, j.HostConfig.UTSMode)
	require.Equal(t, spec.MemoryBytes, j.HostConfig.Memory)
	require.Equal(t, spec.MemoryBytes, j.HostConfig.MemorySwap)
	require.Equal(t, spec.NanoCPUs, j.HostConfig.NanoCPUs)
	require.Equal(t, spec.PidsLimit, *j.HostConfig.PidsLimit)
	require.Equal(t, 20, *j.Config.StopTimeout)
	require.Equal(t, spec.Name, j.Config.Hostname)
	require.Equal(t, container.LogConfig{
		Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"},
	}, j.HostConfig.LogConfig)
	require.Contains(t, j.NetworkSettings.Networks[spec.Name].Aliases, "probe")
	require.Equal(t, "127.0.0.1", c.Ports[8080].IP)
}

func testContainerFiles(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Files = []File{
		{Path: "/secret/password", Mode: 0o400, UID: 999, GID: 999, Data: []byte("hunter2hunter2")},
		{Path: "/secret/tls/node.key", Mode: 0o440, UID: 999, GID: 0, Data: []byte("key")},
	}
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "hunter2hunter2", b.run(t, spec.Name, "cat", "/secret/password"))
	require.Equal(t, "0400 999:999", b.run(t, spec.Name, "stat", "/secret/password"))
	require.Equal(t, "0440 999:0", b.run(t, spec.Name, "stat", "/secret/tls/node.key"))
	require.Equal(t, "0700 999:0", b.run(t, spec.Name, "stat", "/secret/tls"))
	require.Equal(t, "0700 999:999", b.run(t, spec.Name, "stat", "/secret"), "the volume's root stays the image's")

	// Rotation, while it runs.
	spec.Files[0].Data = []byte("rotated")
	require.NoError(t, b.PutFiles(t.Context(), spec.Name, spec.Files[:1]))
	require.Equal(t, "rotated", b.run(t, spec.Name, "cat", "/secret/password"))
	require.Equal(t, "0400 999:999", b.run(t, spec.Name, "stat", "/secret/password"))

	err = b.PutFiles(t.Context(), spec.Name, []File{{Path: "/tmp/x"}})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorIs(t, b.PutFiles(t.Context(), unique("none"), spec.Files), ErrNotFound)
}

func testContainerImageMissing(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Image = "pgforeman-test/no-such:1"
	_, err := b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrImageMissing)
	require.ErrorContains(t, err, spec.Image)
}

func testContainerNoSurroundings(t *testing.T, b bench) {
	good := b.spec(t)
	spec := good
	spec.Network = unique("none")
	_, err := b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, spec.Network)

	spec = good
	spec.Mounts = []VolumeMount{{Volume: unique("none"), Target: "/data"}}
	_, err = b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, spec.Mounts[0].Volume)
}

func testContainerTooManyResources(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.NanoCPUs = 4096e9
	_, err := b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrNoResources)
}

func testContainerDied(t *testing.T, b bench) {
	spec := b.spec(t)
	spec.Cmd = []string{"/probe", "exit", "7", "/secret/password"}
	spec.Files = []File{{Path: "/secret/password", Mode: 0o400, UID: 999, Data: []byte("hunter2hunter2\n")}}
	spec.Settle = patience
	_, err := b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrDied)
	require.ErrorContains(t, err, "exit code 7")
	require.ErrorContains(t, err, "the secret is [redacted]")
	require.NotContains(t, err.Error(), "hunter2")

	spec.Cmd = nil
	spec.Settle = 50 * time.Millisecond
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, c.Running())
}

func testContainerForeign(t *testing.T, b bench) {
	other := bench{Engine: testEngine(t), image: b.image}
	spec := other.spec(t)
	_, err := other.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)

	_, err = b.EnsureContainer(t.Context(), spec)
	require.ErrorIs(t, err, ErrForeign)
	_, err = b.Container(t.Context(), spec.Name)
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorIs(t, b.RemoveContainer(t.Context(), spec.Name), ErrForeign)
	require.ErrorIs(t, b.StopContainer(t.Context(), spec.Name, 0), ErrForeign)
	require.ErrorIs(t, b.PutFiles(t.Context(), spec.Name, nil), ErrForeign)
	_, err = b.Exec(t.Context(), spec.Name, []string{"/probe"}, nil)
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, b.RemoveAll(t.Context(), spec.Labels, false))
	all, err := b.Containers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, all)

	anotherCluster := spec
	anotherCluster.Labels = Labels{LabelClusterID: "another"}
	_, err = other.EnsureContainer(t.Context(), anotherCluster)
	require.ErrorIs(t, err, ErrForeign)
	c, err := other.Container(t.Context(), spec.Name)
	require.NoError(t, err)
	require.True(t, c.Running(), "nothing of it was touched")
}

func testContainerStartStop(t *testing.T, b bench) {
	spec := b.spec(t)
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	eventually(t, func() error { // its signal handler is ready
		text, err := b.Logs(t.Context(), spec.Name, 5)
		if err == nil && text != "serving\n" {
			err = errors.New("its log is " + text)
		}
		return err
	})
	require.NoError(t, b.StopContainer(t.Context(), spec.Name, time.Minute))
	c, err := b.Container(t.Context(), spec.Name)
	require.NoError(t, err)
	require.Equal(t, StateExited, c.State)
	require.Zero(t, c.ExitCode, "it ended by itself")
	require.NoError(t, b.StopContainer(t.Context(), spec.Name, 0), "stopped already")
	require.ErrorIs(t, b.KillContainer(t.Context(), spec.Name, "HUP"), ErrConflict)
	_, err = b.Exec(t.Context(), spec.Name, []string{"/probe"}, nil)
	require.ErrorIs(t, err, ErrConflict)

	require.NoError(t, b.StartContainer(t.Context(), spec.Name))
	require.NoError(t, b.StartContainer(t.Context(), spec.Name), "started already")
	require.NoError(t, b.RemoveContainer(t.Context(), spec.Name))
	require.NoError(t, b.RemoveContainer(t.Context(), spec.Name), "removed already")
	require.ErrorIs(t, b.StartContainer(t.Context(), spec.Name), ErrNotFound)
}
