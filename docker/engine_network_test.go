package docker

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/stretchr/testify/require"
)

func testNetworkOnce(t *testing.T, b bench) {
	spec := NetworkSpec{Host: Local, Name: unique("pgf-net"), Labels: Labels{LabelClusterID: "c1"}}
	first, err := b.EnsureNetwork(t.Context(), spec)
	require.NoError(t, err)
	second, err := b.EnsureNetwork(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Equal(t, "c1", first.Labels[LabelClusterID])

	spec.Host = "elsewhere"
	_, err = b.EnsureNetwork(t.Context(), spec)
	require.ErrorIs(t, err, ErrInvalid)
}

func testNetworkTenAtOnce(t *testing.T, b bench) {
	spec := NetworkSpec{Name: unique("pgf-net"), Labels: Labels{LabelClusterID: "c1"}}
	_, err := atOnce(func() (Network, error) { return b.EnsureNetwork(t.Context(), spec) })
	require.NoError(t, err)
	found, err := b.networksNamed(t.Context(), spec.Name)
	require.NoError(t, err)
	require.Len(t, found, 1)

	for range 2 { // as a race leaves them whose callers died before they cleaned up
		b.createTwin(t, spec)
	}
	_, err = atOnce(func() (Network, error) { return b.EnsureNetwork(t.Context(), spec) })
	require.NoError(t, err)
	found, err = b.networksNamed(t.Context(), spec.Name)
	require.NoError(t, err)
	require.Len(t, found, 1)
}

// A twin that has containers is kept, though it is the younger one.
func testNetworkTwinInUse(t *testing.T, b bench) {
	spec := NetworkSpec{Name: unique("pgf-net"), Labels: Labels{LabelClusterID: "c1"}}
	older, err := b.EnsureNetwork(t.Context(), spec)
	require.NoError(t, err)
	b.createTwin(t, spec)
	twins, err := b.networksNamed(t.Context(), spec.Name)
	require.NoError(t, err)
	require.Len(t, twins, 2)
	younger := twins[0].ID
	if younger == older.ID {
		younger = twins[1].ID
	}
	// Attached by id after the start: a start resolves the name, which is ambiguous now.
	id := b.strangerOn(t, &container.HostConfig{})
	require.NoError(t, b.cli.NetworkConnect(t.Context(), younger, id, nil))

	kept, err := b.EnsureNetwork(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, younger, kept.ID)
}

// createTwin makes a network without the SDK, which always asks the Engine to refuse a name that exists.
func (b bench) createTwin(t *testing.T, spec NetworkSpec) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"Name": spec.Name, "CheckDuplicate": false, "Labels": b.owned(spec.Labels)})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://docker/networks/create", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.cli.HTTPClient().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

func testNetworkForeign(t *testing.T, b bench) {
	other := testEngine(t)
	name := unique("pgf-net")
	made, err := other.EnsureNetwork(t.Context(), NetworkSpec{Name: name, Labels: Labels{LabelClusterID: "c1"}})
	require.NoError(t, err)
	_, err = b.EnsureNetwork(t.Context(), NetworkSpec{Name: name, Labels: Labels{LabelClusterID: "c1"}})
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorContains(t, err, other.instance)
	_, err = other.EnsureNetwork(t.Context(), NetworkSpec{Name: name, Labels: Labels{LabelClusterID: "c2"}})
	require.ErrorIs(t, err, ErrForeign)

	require.ErrorIs(t, b.Remove(t.Context(), Inventory{
		Networks: []Object{{ID: made.ID, Name: name, Labels: made.Labels}},
	}), ErrForeign)

	plain := unique("pgf-net")
	created, err := b.cli.NetworkCreate(t.Context(), plain, network.CreateOptions{})
	require.NoError(t, err)
	_, err = b.EnsureNetwork(t.Context(), NetworkSpec{Name: plain})
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, b.cli.NetworkRemove(t.Context(), created.ID))
}

func testVolume(t *testing.T, b bench) {
	spec := VolumeSpec{Name: unique("pgf-vol"), Labels: Labels{LabelClusterID: "c1"}}
	_, err := atOnce(func() (Volume, error) { return b.EnsureVolume(t.Context(), spec) })
	require.NoError(t, err)
	v, err := b.EnsureVolume(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, spec.Name, v.Name)
	require.Equal(t, b.instance, v.Labels[LabelInstance])

	spec.Labels = Labels{LabelClusterID: "c2"}
	_, err = b.EnsureVolume(t.Context(), spec)
	require.ErrorIs(t, err, ErrForeign)

	plain, err := b.cli.VolumeCreate(t.Context(), volume.CreateOptions{Name: unique("pgf-vol")})
	require.NoError(t, err)
	_, err = b.EnsureVolume(t.Context(), VolumeSpec{Name: plain.Name})
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, b.cli.VolumeRemove(t.Context(), plain.Name, false))
}
