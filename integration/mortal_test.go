package integration

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

// mortal is a "pgforeman worker" that may die at a failure point, with a NATS
// server, a state database and an instance of its own, which outlive it. What
// waits for something starts it again when it is gone, as systemd would.
type mortal struct {
	t        *testing.T
	bin      string
	dir      string
	instance string
	natsURL  string
	db       *storetest.DB
	po       *portal
	life     life

	cmd     *exec.Cmd
	exited  chan struct{}
	died    time.Time // when it killed itself
	again   time.Time // when it was started again
	foreman string    // who had the duty by then
	first   bool      // the process with the failure point is the one that runs
}

// startMortal starts a worker for a life, with the environment that says where
// it dies.
func startMortal(t *testing.T, bin string, l life, env ...string) *mortal {
	t.Helper()
	ns := natstest.Start(t)
	m := &mortal{t: t, bin: bin, dir: t.TempDir(), natsURL: ns.URL(), db: storetest.New(t), life: l, first: true}
	m.instance = "kill-" + strings.ToLower(rand.Text()[:8])
	key, err := store.NewKey()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(m.keyFile(), []byte(key+"\n"), 0o400))
	m.start(slices.Concat(l.env, env)...)
	t.Cleanup(m.remove)
	m.eventually(3*time.Minute, "the streams", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		js, err := jetstream.New(ns.Connect())
		if err == nil {
			_, err = js.Stream(ctx, jobs.StreamRequests)
		}
		if err == nil {
			_, err = js.Stream(ctx, jobs.StreamEvents)
		}
		return err
	})
	m.po = openPortalOn(t, ns.Connect(nats.RetryOnFailedConnect(true)), "acme")
	return m
}

func (m *mortal) keyFile() string { return filepath.Join(m.dir, "key") }
func (m *mortal) logFile() string { return filepath.Join(m.dir, "worker.log") }

func (m *mortal) log() string {
	raw, _ := os.ReadFile(m.logFile())
	return string(raw)
}

// start starts a process. It waits for nothing: it may die at once.
func (m *mortal) start(env ...string) {
	m.t.Helper()
	log, err := os.OpenFile(m.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(m.t, err)
	m.cmd = exec.Command(m.bin, "worker")
	m.cmd.Env = append(append(os.Environ(),
		"PGFOREMAN_NATS_URL="+m.natsURL, "PGFOREMAN_DATABASE_URL="+m.db.DSN, "PGFOREMAN_KEY_FILE="+m.keyFile(),
		"PGFOREMAN_INSTANCE="+m.instance, "PGFOREMAN_HTTP_ADDR="+freeAddress(m.t)), env...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(m.t, m.cmd.Start())
	m.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		_ = log.Close()
		close(exited)
	}(m.cmd, m.exited)
}

// live starts the worker again when it has killed itself; another end of it
// fails the test.
func (m *mortal) live() {
	m.t.Helper()
	select {
	case <-m.exited:
		if !m.first || !m.wasKilled() {
			m.t.Fatalf("the worker ended by itself: %s", m.cmd.ProcessState)
		}
		m.first, m.died = false, time.Now()
		m.db.Scan(m.t, "SELECT coalesce(max(worker), '') FROM duties", &m.foreman)
		m.start()
		m.again = time.Now()
	default:
	}
}

func (m *mortal) wasKilled() bool {
	status, ok := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stop drains the worker with SIGTERM. When it dies of a failure point on the
// way, the next one is drained.
func (m *mortal) stop() {
	m.t.Helper()
	for {
		m.succeeded()
		_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-m.exited:
		case <-time.After(2 * time.Minute):
			m.t.Fatal("the worker does not end after SIGTERM")
		}
		if !m.first || !m.wasKilled() {
			require.Truef(m.t, m.cmd.ProcessState.Success(), "the worker's end: %s", m.cmd.ProcessState)
			return
		}
		m.live()
	}
}

// succeeded waits, when the worker has died, until the next one has the duty: one
// that is drained before holds nothing that it could give up.
func (m *mortal) succeeded() {
	m.t.Helper()
	if m.first {
		return
	}
	m.eventually(time.Minute, "the next worker to have the duty", func() error {
		var now string
		m.db.Scan(m.t, "SELECT coalesce(max(worker), '') FROM duties WHERE lease_until > now()", &now)
		if now == "" || now == m.foreman {
			return fmt.Errorf("it is with %q", now)
		}
		return nil
	})
}

// remove ends the worker and removes what a failed test has left.
func (m *mortal) remove() {
	_ = m.cmd.Process.Kill()
	<-m.exited
	if !m.t.Failed() {
		return
	}
	m.t.Logf("log of the worker:\n%s", tail(m.log(), 60))
	removeInstance(m.t, m.instance)
}

// eventually is the package's, and keeps the worker alive.
func (m *mortal) eventually(limit time.Duration, what string, check func() error) {
	m.t.Helper()
	eventually(m.t, limit, what, func() error {
		m.live()
		return check()
	})
}

// publish publishes until JetStream has the request; the same id makes sure
// that it is one.
func (m *mortal) publish(id string, kind jobs.KindName, cluster string, data any) {
	m.t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "test/portal", "type": "pgforeman.v1." + string(kind), "subject": cluster, "data": data,
	})
	require.NoError(m.t, err)
	m.publishRaw(kind, body)
}

func (m *mortal) publishRaw(kind jobs.KindName, body []byte) {
	m.t.Helper()
	m.eventually(3*time.Minute, "a publication", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := m.po.js.Publish(ctx, "pgforeman.v1.request."+m.po.tenant+"."+string(kind), body)
		return err
	})
}

// await waits for an event of a request; another end of it fails the test.
func (m *mortal) await(id string, typ jobs.EventType) jobs.Event {
	m.t.Helper()
	var found jobs.Event
	m.eventually(8*time.Minute, string(typ)+" of "+id, func() error {
		last := "nothing told"
		for _, e := range m.po.told(id) {
			last = e.Type + ": " + e.Data.Message
			switch {
			case e.Type == jobs.EventTypeName(typ):
				found = e
				return nil
			case isEnd(e):
				m.t.Fatalf("%s ended otherwise: %s %+v", id, last, e.Data.Error)
			}
		}
		return fmt.Errorf("last event: %s", last)
	})
	return found
}

// isEnd says that an event tells a request's fate.
func isEnd(e jobs.Event) bool {
	for _, end := range []jobs.EventType{jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationCancelledEv, jobs.OperationRejected} {
		if e.Type == jobs.EventTypeName(end) {
			return true
		}
	}
	return false
}

// credentials asks for a cluster's credentials, as a portal does, until they
// are told.
func (m *mortal) credentials(cluster string) {
	m.t.Helper()
	m.eventually(2*time.Minute, "credentials", func() error {
		answer, err := m.po.nc.Request(jobs.QuerySubject(m.po.tenant, jobs.QueryCredentials), []byte(`{"name":"`+cluster+`"}`), 3*time.Second)
		if err != nil {
			return err
		}
		var creds jobs.Credentials
		if err := json.Unmarshal(answer.Data, &creds); err != nil || creds.Password == "" {
			return errors.New("the answer has no password") // not shown: it may hold one
		}
		return nil
	})
}

// containers gives the names of the containers of a role, or of all.
func (m *mortal) containers(role string) []string {
	m.t.Helper()
	args := []string{"ps", "-a", "--format", "{{.Names}}", "--filter", "label=io.pgforeman.instance=" + m.instance}
	if role != "" {
		args = append(args, "--filter", "label=io.pgforeman.role="+role)
	}
	return strings.Fields(docker(m.t, args...))
}

// recovered is how long after its death the work went on: until the first event
// that the next worker published. Zero when none was.
func (m *mortal) recovered() time.Duration {
	if m.died.IsZero() {
		return 0
	}
	at := m.po.after(m.again.Add(100 * time.Millisecond)) // what the dead one published has arrived by then
	if at.IsZero() {
		return 0
	}
	return at.Sub(m.died)
}
