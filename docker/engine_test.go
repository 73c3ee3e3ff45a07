package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is how long a condition may take on a machine that is busy with other things.
const patience = 60 * time.Second

// bench is a real Engine, an image that tells what it sees, and an instance that no one else uses.
type bench struct {
	*Engine
	image string
}

// TestRealEngine drives the adapter against the Engine of this machine. The parts are independent of each other.
func TestRealEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a Docker Engine")
	}
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	image := probeImage(t)
	for name, part := range map[string]func(*testing.T, bench){
		"info":                         testInfo,
		"network/once":                 testNetworkOnce,
		"network/ten at once":          testNetworkTenAtOnce,
		"network/twin in use":          testNetworkTwinInUse,
		"network/foreign":              testNetworkForeign,
		"volume":                       testVolume,
		"container/idempotent":         testContainerIdempotent,
		"container/ten at once":        testContainerTenAtOnce,
		"container/half-made":          testContainerHalfMade,
		"container/changed":            testContainerChanged,
		"container/network made anew":  testContainerNetworkMadeAnew,
		"container/paused":             testContainerPaused,
		"container/hardened":           testContainerHardened,
		"container/files":              testContainerFiles,
		"container/ports":              testContainerPorts,
		"container/port taken":         testContainerPortTaken,
		"container/image missing":      testContainerImageMissing,
		"container/no surroundings":    testContainerNoSurroundings,
		"container/too many resources": testContainerTooManyResources,
		"container/died":               testContainerDied,
		"container/foreign":            testContainerForeign,
		"container/start and stop":     testContainerStartStop,
		"exec":                         testExec,
		"remove/everything":            testRemoveEverything,
		"remove/keep volumes":          testRemoveKeepsVolumes,
		"remove/stragglers":            testRemoveStragglers,
		"remove/volume in use":         testRemoveVolumeInUse,
		"watch":                        testWatch,
	} {
		t.Run(name, func(t *testing.T) { part(t, bench{Engine: testEngine(t), image: image}) })
	}
}

// testEngine opens an Engine with an instance of its own and asserts that nothing of it is left at the end.
func testEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := Open(Options{Instance: unique("engine-test"), Log: zerolog.New(zerolog.NewTestWriter(t))})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		inv, err := e.Inventory(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, e.Remove(ctx, inv))
		inv, err = e.Inventory(ctx, nil)
		require.NoError(t, err)
		require.True(t, inv.Empty(), "left behind: %s", inv)
		require.NoError(t, e.Close())
	})
	return e
}

func unique(prefix string) string { return prefix + "-" + uuid.NewString()[:8] }

// spec is a container that serves, on a network with a volume at /secret that all exist.
func (b bench) spec(t *testing.T) ContainerSpec {
	t.Helper()
	name := unique("pgf-test")
	labels := Labels{LabelCluster: name, LabelClusterID: name + "-id", LabelRole: "node"}
	_, err := b.EnsureNetwork(t.Context(), NetworkSpec{Name: name, Labels: labels})
	require.NoError(t, err)
	_, err = b.EnsureVolume(t.Context(), VolumeSpec{Name: name, Labels: labels})
	require.NoError(t, err)
	return ContainerSpec{
		Name: name, Image: b.image, Network: name, Aliases: []string{"probe"}, Labels: labels,
		Mounts:      []VolumeMount{{Volume: name, Target: "/secret"}},
		Tmpfs:       map[string]string{"/tmp": "size=1m,uid=999,gid=999,mode=0700"},
		MemoryBytes: 64 << 20, NanoCPUs: 5e8, PidsLimit: 32, StopTimeout: 20 * time.Second,
	}
}

// run executes the probe in a container and returns what it said.
func (b bench) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	r, err := b.Exec(t.Context(), name, append([]string{"/probe"}, args...), nil)
	require.NoError(t, err)
	require.Zero(t, r.ExitCode, "%s", r.Stderr)
	return string(r.Stdout)
}

// eventually waits for a condition, which says what it sees instead.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	require.NoError(t, retry(t.Context(), patience, condition))
}

// probeImage makes an image of one static binary, with no registry and no build.
func probeImage(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "probe")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	program, err := os.ReadFile(binary)
	require.NoError(t, err)

	e, err := Open(Options{Instance: "engine-test"})
	require.NoError(t, err)
	tag := "pgforeman-test/" + unique("probe") + ":1"
	stream, err := e.cli.ImageImport(t.Context(), image.ImportSource{Source: rootOf(t, program), SourceName: "-"}, tag,
		image.ImportOptions{Changes: []string{`CMD ["/probe","serve"]`, "USER 999:999", "LABEL " + LabelInstance + "=engine-test"}})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := e.cli.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
		require.NoError(t, err)
		require.NoError(t, e.Close())
	})
	return tag
}

// rootOf is a root file system: the binary, and a folder that user 999 owns as in the real images.
func rootOf(t *testing.T, program []byte) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "secret/", Mode: 0o700, Uid: 999, Gid: 999},
		{Typeflag: tar.TypeReg, Name: "secret/.keep", Mode: 0o400, Uid: 999, Gid: 999},
		{Typeflag: tar.TypeReg, Name: "probe", Mode: 0o755, Size: int64(len(program))},
	} {
		require.NoError(t, w.WriteHeader(&h))
	}
	_, err := w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return &buf
}

// atOnce runs a function ten times at the same moment.
func atOnce[T any](f func() (T, error)) ([]T, error) {
	type outcome struct {
		value T
		err   error
	}
	begin, outcomes := make(chan struct{}), make(chan outcome)
	for range 10 {
		go func() {
			<-begin
			v, err := f()
			outcomes <- outcome{v, err}
		}()
	}
	close(begin)
	var all []T
	var failed error
	for i := range 10 {
		o := <-outcomes
		if o.err != nil {
			failed = fmt.Errorf("caller %d: %w", i, o.err)
		}
		all = append(all, o.value)
	}
	return all, failed
}

func testInfo(t *testing.T, b bench) {
	require.NoError(t, b.Ping(t.Context()))
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, info.Version)
	require.Regexp(t, `^1\.\d+$`, info.APIVersion)
	require.NotEmpty(t, info.Driver)
	require.Contains(t, []string{"1", "2"}, info.CgroupVersion)
	require.Positive(t, info.MemoryTotal)
	require.Positive(t, info.CPUs)
}
