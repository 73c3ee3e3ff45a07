package integration

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

// site is what the workers of a production have in common: a NATS server, a
// state database, a key file, an instance on the Engine. A test has one of its
// own, and starts on it as many "pgforeman worker" processes as it wants.
//
// The program in it is none that runs: it gives the site what portals and the
// command line need (openPortal(t, s.program, tenant), s.run, s.containers).
type site struct {
	*program
	nats    *natstest.Server
	db      *storetest.DB
	keyFile string
}

// newSite makes a site. When the test ends, nothing may be left on the Engine
// with its instance's label.
func newSite(t *testing.T) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	bin, err := buildOnce()
	require.NoError(t, err)
	s := &site{
		program: &program{t: t, bin: bin, dir: t.TempDir()},
		nats:    natstest.Start(t), db: storetest.New(t),
	}
	s.natsAddr = strings.TrimPrefix(s.nats.URL(), "nats://")
	instance := "site-" + strings.ToLower(rand.Text()[:10])
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "instance"), []byte(instance), 0o600))
	key, err := store.NewKey()
	require.NoError(t, err)
	s.keyFile = filepath.Join(s.dir, "key")
	require.NoError(t, os.WriteFile(s.keyFile, []byte(key), 0o400))
	t.Cleanup(s.clear)
	return s
}

// clear removes everything of the site's instance, and says so if there was
// something.
func (s *site) clear() {
	left := leftovers(s.t, "io.pgforeman.instance="+s.instance())
	if left == "" {
		return
	}
	if !s.t.Failed() { // a test that failed in the middle leaves what it had
		s.t.Errorf("left on the Engine:\n%s", left)
	}
	removeInstance(s.t, s.instance())
}

// workerProcess is a "pgforeman worker".
type workerProcess struct {
	t        *testing.T
	name     string
	bin      string
	httpAddr string
	logFile  string
	env      []string
	cmd      *exec.Cmd
	exited   chan struct{}
}

// worker starts a worker process on the site and waits until it is ready. env
// is added to its settings and wins over them ("PGFOREMAN_NATS_URL=…" sends it
// through a proxy). The process ends with the test at the latest.
func (s *site) worker(name string, env ...string) *workerProcess {
	s.t.Helper()
	w := s.newWorker(name, env...)
	w.start()
	w.awaitReady(2 * time.Minute)
	return w
}

// newWorker prepares a worker process without starting it.
func (s *site) newWorker(name string, env ...string) *workerProcess {
	s.t.Helper()
	w := &workerProcess{t: s.t, name: name, bin: s.bin, httpAddr: freeAddress(s.t)}
	w.logFile = filepath.Join(s.t.TempDir(), name+".log")
	w.env = append([]string{
		"PGFOREMAN_NATS_URL=" + s.nats.URL(),
		"PGFOREMAN_DATABASE_URL=" + s.db.DSN,
		"PGFOREMAN_KEY_FILE=" + s.keyFile,
		"PGFOREMAN_INSTANCE=" + s.instance(),
		"PGFOREMAN_WORKER_NAME=" + name,
		"PGFOREMAN_HTTP_ADDR=" + w.httpAddr,
	}, env...)
	s.t.Cleanup(w.stop)
	return w
}

// start starts the process, the first time or again after its end, and does not
// wait for anything.
func (w *workerProcess) start() {
	w.t.Helper()
	log, err := os.OpenFile(w.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(w.t, err)
	w.cmd = exec.Command(w.bin, "worker")
	w.cmd.Env = append(os.Environ(), w.env...)
	w.cmd.Stdout, w.cmd.Stderr = log, log
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(w.t, w.cmd.Start())
	w.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		_ = log.Close()
		close(exited)
	}(w.cmd, w.exited)
}

// pid is the running process's.
func (w *workerProcess) pid() int { return w.cmd.Process.Pid }

// running tells whether the process has not ended.
func (w *workerProcess) running() bool {
	if w.exited == nil {
		return false
	}
	select {
	case <-w.exited:
		return false
	default:
		return true
	}
}

// signal sends the process a signal, and does not wait for what comes of it.
func (w *workerProcess) signal(sig syscall.Signal) {
	w.t.Helper()
	require.NoError(w.t, w.cmd.Process.Signal(sig))
}

// awaitExit waits until the process has ended, and gives its exit code (-1 for
// one that a signal ended).
func (w *workerProcess) awaitExit(limit time.Duration) int {
	w.t.Helper()
	select {
	case <-w.exited:
	case <-time.After(limit):
		w.t.Fatalf("worker %s has not ended after %s:\n%s", w.name, limit, tail(w.log(), 60))
	}
	return w.cmd.ProcessState.ExitCode()
}

// ready asks /readyz; nil means that it says 200. The error holds what it says
// otherwise.
func (w *workerProcess) ready() error {
	status, body, err := w.get("/readyz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("readyz says %d: %s", status, body)
	}
	return err
}

// awaitReady waits until /readyz says 200; it is no use for a process that ends.
func (w *workerProcess) awaitReady(limit time.Duration) {
	w.t.Helper()
	eventually(w.t, limit, "worker "+w.name+" to be ready", func() error {
		if !w.running() {
			w.t.Fatalf("worker %s ended:\n%s", w.name, tail(w.log(), 60))
		}
		return w.ready()
	})
}

// get asks the process over HTTP.
func (w *workerProcess) get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + w.httpAddr + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// log gives what the process has written so far.
func (w *workerProcess) log() string {
	raw, err := os.ReadFile(w.logFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Errorf("read the log of worker %s: %v", w.name, err)
	}
	return string(raw)
}

// stop ends the process in order, and by force when it does not end.
func (w *workerProcess) stop() {
	if w.t.Failed() {
		w.t.Logf("log of worker %s:\n%s", w.name, tail(w.log(), 120))
	}
	if !w.running() {
		return
	}
	_ = w.cmd.Process.Signal(syscall.SIGCONT)
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.exited:
	case <-time.After(time.Minute):
		w.t.Errorf("worker %s does not end within a minute of SIGTERM", w.name)
		_ = w.cmd.Process.Kill()
		<-w.exited
	}
}
