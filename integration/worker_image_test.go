package integration

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	images "github.com/vcs-iaas/pgforeman/docker"
)

// workerUser is the user of the worker's image.
const workerUser = 65532

// runWorkerImage builds deployments/worker and runs it the way compose.yaml does
// beside a program: as a user of no host, with nothing but the Engine's socket.
func runWorkerImage(t *testing.T, p *program) {
	tag := "pgforeman/worker:" + p.instance()
	build := t.TempDir()
	require.NoError(t, copyFile(p.bin, filepath.Join(build, "pgforeman"), 0o755))
	out, err := exec.Command("docker", "build", "-q", "-f", "../deployments/worker/Dockerfile", "--label", "io.pgforeman.instance="+p.instance(),
		"--build-arg", "BASE="+images.BaseImage.Tag(), "-t", tag, build).CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	t.Cleanup(func() { docker(t, "rmi", "-f", tag) })
	require.Equal(t, "65532:65532", docker(t, "inspect", "-f", "{{.Config.User}}", tag))

	socket, err := os.Stat("/var/run/docker.sock")
	require.NoError(t, err)
	owner, ok := socket.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	httpAddr := freeAddress(t)
	args := []string{
		"--network", "host", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true",
		"--memory", "256m", "--pids-limit", "256", "--group-add", fmt.Sprint(owner.Gid),
		"--label", "io.pgforeman.instance=" + p.instance(),
		"-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", workerSecrets(t, p) + ":/etc/pgforeman/worker:ro",
		"-e", "PGFOREMAN_NATS_URL=nats://" + p.natsAddr, "-e", "PGFOREMAN_INSTANCE=" + p.instance(),
		"-e", "PGFOREMAN_DATABASE_URL=postgres://postgres@127.0.0.1:" + p.stateFile("database-port") + "/postgres?sslmode=disable",
		"-e", "PGPASSFILE=/etc/pgforeman/worker/pgpass", "-e", "PGFOREMAN_KEY_FILE=/etc/pgforeman/worker/state.key",
		"-e", "PGFOREMAN_HTTP_ADDR=" + httpAddr,
	}
	doctor, err := exec.Command("docker", append(append([]string{"run", "--rm"}, args...), tag, "doctor")...).CombinedOutput()
	require.NoErrorf(t, err, "the doctor's findings with what a worker has:\n%s", doctor)

	name := "pgforeman-" + p.instance() + "-worker"
	id, err := exec.Command("docker", append(append([]string{"run", "-d", "--name", name}, args...), tag)...).CombinedOutput()
	require.NoErrorf(t, err, "%s", id)
	t.Cleanup(func() { docker(t, "rm", "-f", name) })
	eventually(t, time.Minute, "the worker to be ready", func() error {
		resp, err := http.Get("http://" + httpAddr + "/readyz")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, docker(t, "logs", name))
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s\n%s", resp.Status, docker(t, "logs", name))
		}
		return nil
	})
	running := strings.Split(docker(t, "top", name, "-o", "pid,uid"), "\n")
	require.Len(t, running, 2, "one process, after the titles")
	require.Equal(t, fmt.Sprint(workerUser), strings.Fields(running[1])[1])
	stopped := time.Now()
	docker(t, "stop", "-t", "60", name)
	require.Equal(t, "0", docker(t, "inspect", "-f", "{{.State.ExitCode}}", name), docker(t, "logs", name))
	t.Logf("the worker ended %.1f s after SIGTERM", time.Since(stopped).Seconds())
}

// workerSecrets is a folder with what README.md says that a worker is given.
func workerSecrets(t *testing.T, p *program) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgforeman-worker-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711))
	pass := "127.0.0.1:" + p.stateFile("database-port") + ":postgres:postgres:" + p.stateFile("database-password") + "\n"
	for name, content := range map[string]string{"state.key": p.stateFile("key") + "\n", "pgpass": pass} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o400))
		if err := os.Chown(path, workerUser, workerUser); err != nil {
			t.Skipf("the secret files must be given to user %d, which only root may do: %v", workerUser, err)
		}
	}
	return dir
}

func copyFile(from, to string, mode os.FileMode) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, mode)
}
