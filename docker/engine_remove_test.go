package docker

import (
	"context"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"
)

func testRemoveEverything(t *testing.T, b bench) {
	spec := b.spec(t)
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	stays := b.spec(t)

	inv, err := b.Inventory(t.Context(), spec.Labels)
	require.NoError(t, err)
	require.Equal(t, "container "+spec.Name+", volume "+spec.Name+", network "+spec.Name, inv.String())
	require.ErrorIs(t, b.RemoveAll(t.Context(), nil, false), ErrInvalid)

	_, err = atOnce(func() (struct{}, error) { return struct{}{}, b.RemoveAll(t.Context(), spec.Labels, false) })
	require.NoError(t, err)
	left, err := b.Inventory(t.Context(), spec.Labels)
	require.NoError(t, err)
	require.True(t, left.Empty(), left.String())
	require.NoError(t, b.Remove(t.Context(), inv), "what is gone is removed")

	left, err = b.Inventory(t.Context(), stays.Labels)
	require.NoError(t, err)
	require.Len(t, left.Networks, 1, "another cluster's things stay")
	require.Len(t, left.Volumes, 1)
}

func testRemoveKeepsVolumes(t *testing.T, b bench) {
	spec := b.spec(t)
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.NoError(t, b.RemoveAll(t.Context(), spec.Labels, true))
	left, err := b.Inventory(t.Context(), spec.Labels)
	require.NoError(t, err)
	require.Equal(t, "volume "+spec.Name, left.String())
}

// An operator's own container on the cluster's network must not keep the network alive.
func testRemoveStragglers(t *testing.T, b bench) {
	spec := b.spec(t)
	id := b.strangerOn(t, &container.HostConfig{NetworkMode: container.NetworkMode(spec.Network)})
	require.NoError(t, b.RemoveAll(t.Context(), spec.Labels, false))
	j, err := b.cli.ContainerInspect(t.Context(), id)
	require.NoError(t, err)
	require.True(t, j.State.Running, "it is disconnected, not stopped")
}

func testRemoveVolumeInUse(t *testing.T, b bench) {
	spec := b.spec(t)
	id := b.strangerOn(t, &container.HostConfig{NetworkMode: "none", Binds: []string{spec.Name + ":/data"}})
	removed := make(chan error, 1)
	go func() { removed <- b.RemoveAll(t.Context(), spec.Labels, false) }()
	eventually(t, func() error { // the network goes first, so now it is at the volume
		left, err := b.networksNamed(t.Context(), spec.Network)
		if err == nil && len(left) > 0 {
			err = ErrConflict
		}
		return err
	})
	select {
	case err := <-removed:
		t.Fatalf("it ended while the volume was in use: %v", err)
	default:
	}
	require.NoError(t, b.cli.ContainerRemove(t.Context(), id, container.RemoveOptions{Force: true}))
	require.NoError(t, <-removed)
}

// strangerOn runs a container that no label says anything about.
func (b bench) strangerOn(t *testing.T, h *container.HostConfig) string {
	t.Helper()
	c, err := b.cli.ContainerCreate(t.Context(), &container.Config{Image: b.image}, h, &network.NetworkingConfig{}, nil,
		unique("pgf-stranger"))
	require.NoError(t, err)
	t.Cleanup(func() {
		// The test's own context has ended. It may be gone already.
		_ = b.cli.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true})
	})
	require.NoError(t, b.cli.ContainerStart(t.Context(), c.ID, container.StartOptions{}))
	return c.ID
}
