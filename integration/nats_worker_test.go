package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// natsWorker is a "pgforeman worker" as it runs in production: beside a NATS
// server with the shipped configuration, with a key of its role, and a state
// database of its own.
type natsWorker struct {
	t       *testing.T
	bin     string
	d       *natsDeployment
	db      *storetest.DB
	logFile string
	files   string // folder of seeds and certificates
}

// startNATSWorker starts one with an instance of its own, which makes nothing on the
// Engine unless it is asked to.
func startNATSWorker(t *testing.T, d *natsDeployment, env ...string) *natsWorker {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	bin, err := buildOnce()
	require.NoError(t, err)
	db := storetest.New(t)
	w := &natsWorker{t: t, bin: bin, d: d, db: db, files: t.TempDir(), logFile: filepath.Join(t.TempDir(), "worker.log")}
	line, err := store.NewKey()
	require.NoError(t, err)
	w.file("key", []byte(line))
	w.file("database-url", []byte(db.DSN+"\n"))
	w.file("ca.pem", d.ca)

	log, err := os.Create(w.logFile)
	require.NoError(t, err)
	httpAddr := freeAddress(t)
	cmd := exec.Command(bin, "worker")
	cmd.Env = append(os.Environ(), "PGFOREMAN_NATS_URL="+d.url, "PGFOREMAN_NATS_CA="+w.path("ca.pem"),
		"PGFOREMAN_NATS_NKEY_FILE="+w.seed("WORKER"), "PGFOREMAN_NATS_IDENTITY=true",
		"PGFOREMAN_DATABASE_URL_FILE="+w.path("database-url"), "PGFOREMAN_KEY_FILE="+w.path("key"),
		"PGFOREMAN_INSTANCE=test-"+filepath.Base(w.files), "PGFOREMAN_HTTP_ADDR="+httpAddr, "PGFOREMAN_LOG_LEVEL=trace")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			require.NoErrorf(t, err, "log of the worker:\n%s", tail(w.log(), 60))
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("the worker does not end:\n%s", tail(w.log(), 60))
		}
		_ = log.Close()
		if t.Failed() {
			t.Logf("log of the worker:\n%s", tail(w.log(), 60))
		}
	})
	eventually(t, time.Minute, "the worker to be ready", func() error {
		resp, err := http.Get("http://" + httpAddr + "/readyz")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, tail(w.log(), 20))
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s\n%s", resp.Status, tail(w.log(), 20))
		}
		return nil
	})
	return w
}

func (w *natsWorker) path(name string) string { return filepath.Join(w.files, name) }

func (w *natsWorker) file(name string, content []byte) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(w.path(name), content, 0o400))
}

// seed writes the seed of a role's key, once, and gives the file.
func (w *natsWorker) seed(role string) string {
	w.t.Helper()
	seed, err := w.d.keys[role].Seed()
	require.NoError(w.t, err)
	if _, err := os.Stat(w.path(role)); err != nil {
		w.file(role, seed)
	}
	return w.path(role)
}

func (w *natsWorker) log() string {
	raw, _ := os.ReadFile(w.logFile)
	return string(raw)
}

// cli runs the command line in a role.
func (w *natsWorker) cli(role string, args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin, append(args, "--server", w.d.url, "--nats-ca", w.path("ca.pem"), "--nkey", w.seed(role))...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code tells
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// json runs the command line in a role, which has to succeed, and decodes what
// it prints.
func (w *natsWorker) json(into any, role string, args ...string) {
	w.t.Helper()
	out, errs, code := w.cli(role, append(args, "-o", "json")...)
	require.Zerof(w.t, code, "%v: %s", args, errs)
	require.NoErrorf(w.t, json.Unmarshal([]byte(out), into), "%.300s", out)
}
