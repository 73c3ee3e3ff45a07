package docker

import (
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// imageEngine connects to the Engine of the environment.
func imageEngine(t *testing.T) *client.Client {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	return engine
}

// TestBuildImagesTwiceAtOnce builds what is missing from two sides, as two workers
// that start together do, and then sees that a third call finds everything there.
func TestBuildImagesTwiceAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images")
	}
	engine := imageEngine(t)
	var group sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		group.Go(func() {
			errs[i] = BuildImages(t.Context(), engine, func(p BuildProgress) {
				t.Logf("%d: %s %d/%d %s", i, p.Image, p.Step, p.Steps, p.Message)
			})
		})
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}

	missing, err := MissingImages(t.Context(), engine)
	require.NoError(t, err)
	require.Empty(t, missing)
	var last []BuildProgress
	require.NoError(t, BuildImages(t.Context(), engine, func(p BuildProgress) { last = append(last, p) }))
	require.Len(t, last, len(Images()))
	for i, name := range Images() {
		require.Equal(t, BuildProgress{Image: name, Tag: name.Tag(), Message: "is ready", Done: true, Cached: true}, last[i])
		image, err := engine.ImageInspect(t.Context(), name.Tag())
		require.NoError(t, err)
		require.Equal(t, string(name), image.Config.Labels[LabelImage])
		if name != BaseImage {
			require.Equal(t, "999:999", image.Config.User)
			require.NotNil(t, image.Config.Healthcheck)
			require.True(t, strings.HasSuffix(image.Config.Entrypoint[0], "tini"))
		}
	}
}
