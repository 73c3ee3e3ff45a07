package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// program is a "pgforeman dev" under test.
type program struct {
	t        *testing.T
	bin      string
	dir      string // state folder
	natsAddr string
	httpAddr string
	logFile  string
	flags    []string // of dev, beside folder and addresses
	cmd      *exec.Cmd
	exited   chan struct{}
}

// startProgram starts the program with everything of its own and removes all
// of it when the test ends.
func startProgram(t *testing.T, flags ...string) *program {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	bin, err := buildOnce()
	require.NoError(t, err)
	return startProgramOf(t, bin, flags...)
}

// startProgramOf starts a program that was built otherwise.
func startProgramOf(t *testing.T, bin string, flags ...string) *program {
	t.Helper()
	p := &program{
		t: t, bin: bin, dir: filepath.Join(t.TempDir(), "state"),
		natsAddr: freeAddress(t), httpAddr: freeAddress(t), flags: flags,
	}
	p.logFile = filepath.Join(t.TempDir(), "dev.log")
	t.Cleanup(p.remove)
	p.start()
	return p
}

// givenAddresses are those that freeAddress gave.
var givenAddresses sync.Map

// freeAddress gives a loopback address that nothing listens on, below the ports
// that pgforeman allocates to clusters (25000 on) and below the
// range from which the kernel and Docker choose ports of their own. It gives
// none twice: whoever was given it may not listen yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 200 {
		port := 21000 + int(time.Now().UnixNano()/1000%3900)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if _, given := givenAddresses.LoadOrStore(addr, true); given {
			continue
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no free port between 21000 and 24900")
	return ""
}

// start starts the process and waits until it says that it is ready.
func (p *program) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	args := []string{"dev", "--state-dir", p.dir, "--nats-addr", p.natsAddr, "--http-addr", p.httpAddr}
	p.cmd = exec.Command(p.bin, append(args, p.flags...)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(p.t, p.cmd.Start())
	p.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait()
		_ = log.Close()
		close(exited)
	}(p.cmd, p.exited)
	p.eventually(10*time.Minute, "the program to be ready", func() error {
		select {
		case <-p.exited:
			p.t.Fatalf("the program ended before it was ready:\n%s", p.log())
		default:
		}
		resp, err := http.Get("http://" + p.httpAddr + "/readyz")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz says %s", resp.Status)
		}
		return nil
	})
}

// signal sends the process a signal and, for one that ends it, waits for its end.
func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		select {
		case <-p.exited:
		case <-time.After(2 * time.Minute):
			p.t.Fatalf("the program does not end after %s:\n%s", sig, p.log())
		}
	}
}

// remove ends the process, removes everything of its instance and asserts that
// nothing of it is left.
func (p *program) remove() {
	if p.t.Failed() {
		p.t.Logf("log of the program:\n%s", tail(p.log(), 120))
	}
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(time.Minute):
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
	}
	instance := p.instance()
	if p.t.Failed() {
		p.t.Logf("containers:\n%s", docker(p.t, "ps", "-a", "--filter", "label=io.pgforeman.instance="+instance))
	}
	if out, err := exec.Command(p.bin, "dev", "down", "--yes", "--state-dir", p.dir).CombinedOutput(); err != nil {
		p.t.Errorf("dev down: %v\n%s", err, out)
	}
	if left := leftovers(p.t, "io.pgforeman.instance="+instance); left != "" {
		p.t.Errorf("left on the Engine after dev down:\n%s", left)
	}
}

// instance is the name under which the program marks what it makes.
func (p *program) instance() string {
	raw, err := os.ReadFile(filepath.Join(p.dir, "instance"))
	if err != nil {
		return "none-" + filepath.Base(p.dir)
	}
	return strings.TrimSpace(string(raw))
}

func (p *program) log() string {
	raw, _ := os.ReadFile(p.logFile)
	return string(raw)
}

// run runs the command line against the program; it gives the output and the
// exit code.
func (p *program) run(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.bin, args...)
	cmd.Env = append(os.Environ(), "NATS_URL=nats://"+p.natsAddr)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("run pgforeman %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs the command line, which has to succeed.
func (p *program) must(args ...string) string {
	p.t.Helper()
	out, errs, code := p.run(args...)
	require.Zerof(p.t, code, "pgforeman %s\n%s%s", strings.Join(args, " "), out, errs)
	return out
}

// json runs the command line with -o json and decodes what it prints.
func (p *program) json(into any, args ...string) {
	p.t.Helper()
	out := p.must(append(args, "-o", "json")...)
	require.NoErrorf(p.t, json.Unmarshal([]byte(out), into), "output of %v:\n%s", args, out)
}

// connect opens a NATS connection as a portal would.
func (p *program) connect() *nats.Conn {
	p.t.Helper()
	nc, err := nats.Connect("nats://"+p.natsAddr, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))
	require.NoError(p.t, err)
	p.t.Cleanup(nc.Close)
	return nc
}

// eventually asks check until it says nil, at most for limit.
func (p *program) eventually(limit time.Duration, what string, check func() error) {
	p.t.Helper()
	eventually(p.t, limit, what, check)
}

// eventually asks check every 200 ms until it says nil, at most for limit.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	eventuallyEvery(t, 200*time.Millisecond, limit, what, check)
}

// eventuallyEvery is eventually with a pace of its own.
func eventuallyEvery(t *testing.T, pace, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("waited %s for %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

// containers gives the names of a cluster's containers, of one role or of all.
func (p *program) containers(cluster, role string) []string {
	p.t.Helper()
	args := []string{
		"ps", "-a", "--format", "{{.Names}}", "--filter", "label=io.pgforeman.instance=" + p.instance(),
		"--filter", "label=io.pgforeman.cluster=" + cluster,
	}
	if role != "" {
		args = append(args, "--filter", "label=io.pgforeman.role="+role)
	}
	return strings.Fields(docker(p.t, args...))
}

// tail gives the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
