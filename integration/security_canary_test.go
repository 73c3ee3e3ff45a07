package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	images "github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// processes are the command lines and environments seen on the machine, each once.
type processes struct {
	mu    sync.Mutex
	lines map[string]bool
	looks int
}

// watchProcesses looks at the machine's processes again and again until the test
// ends: a password on a command line may be there for a moment only.
func watchProcesses(t *testing.T) *processes {
	t.Helper()
	p := &processes{lines: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			p.look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return p
}

func (p *processes) look(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "ps", "axeww", "-o", "args").Output()
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	for _, line := range strings.Split(string(out), "\n") {
		p.lines[line] = true
	}
}

func (p *processes) text(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Greater(t, p.looks, 10, "the processes were hardly looked at")
	var all strings.Builder
	for line := range p.lines {
		all.WriteString(line + "\n")
	}
	require.Contains(t, all.String(), "postgres", "the cluster's processes were not seen")
	return all.String()
}

// known are the values that nobody else may see: of both clusters, and the
// program's own.
func (l *locked) known() map[string]string {
	l.t.Helper()
	known := map[string]string{"state database's password": l.p.stateFile("database-password")}
	_, known["key that seals the secrets"], _ = strings.Cut(l.p.stateFile("key"), " ")
	for of, secrets := range map[string]map[string][]byte{l.cluster: l.secrets, "clash": l.other} {
		for name, value := range secrets {
			as := of + ": " + name
			switch {
			case strings.HasSuffix(name, ".pem"): // certificates are public
			case strings.HasSuffix(name, ".key"):
				lines := strings.Split(string(value), "\n")
				require.Greater(l.t, len(lines), 3, as)
				known[as+", line 1"], known[as+", line 2"] = lines[1], lines[2]
			default:
				require.GreaterOrEqualf(l.t, len(value), 26, "%s has less than 128 random bits (base32)", as)
				known[as] = string(value)
			}
		}
	}
	return known
}

// place is somewhere to search, and what proves that the search was there.
type place struct {
	name string
	text string
	has  string
}

// canary searches for the secrets everywhere that others can look.
func (l *locked) canary(t *testing.T, po, rival *portal, seen *processes) {
	n := newNeedles(t, l.known())
	search := func(name string, r io.Reader) int64 {
		t.Helper()
		found, size, err := n.in(r)
		require.NoError(t, err, name)
		if len(found) > 0 {
			t.Errorf("%s: in it stand %v", name, found)
		}
		return size
	}
	raw, err := json.Marshal(l.app.creds)
	require.NoError(t, err)
	found, _, err := n.in(strings.NewReader(string(raw)))
	require.NoError(t, err)
	require.Contains(t, found, l.cluster+": user.app", "the search does not even find the password in the credentials")

	places := append(l.enginePlaces(t), l.programPlaces(t, po, rival)...)
	places = append(places, place{"process lists", seen.text(t), "patroni"})
	for _, at := range places {
		require.Contains(t, at.text, at.has, at.name)
		search(at.name, strings.NewReader(at.text))
	}
	l.searchFolder(t, search)
	l.searchImages(t, search)
	t.Logf("%d secrets searched in %d places, the program's folder and the images' layers", len(l.known()), len(places))
}

// enginePlaces are what the Engine tells of its containers, and what they tell.
func (l *locked) enginePlaces(t *testing.T) []place {
	t.Helper()
	mine := "label=io.pgforeman.instance=" + l.p.instance()
	since := fmt.Sprint(time.Now().Add(-time.Hour).Unix())
	places := []place{
		{"docker events", docker(t, "events", "--since", since, "--until", fmt.Sprint(time.Now().Unix()), "--filter", mine), "exec_start"},
	}
	for _, c := range strings.Fields(docker(t, "ps", "-a", "--format", "{{.Names}}", "--filter", mine)) {
		places = append(places,
			place{"docker inspect " + c, docker(t, "inspect", c), "CapDrop"},
			place{"docker logs " + c, docker(t, "logs", c), ""})
		if docker(t, "inspect", "-f", "{{.State.Running}}", c) == "true" {
			places = append(places,
				place{"docker top " + c, docker(t, "top", c, "-eo", "pid,args"), "tini"},
				place{"environment in " + c, mustInside(t, c, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null || true"), "PATH="})
		}
	}
	for _, kind := range []string{"volume", "network"} {
		for _, name := range strings.Fields(docker(t, kind, "ls", "--format", "{{.Name}}", "--filter", mine)) {
			places = append(places, place{kind + " " + name, docker(t, kind, "inspect", name), l.p.instance()})
		}
	}
	for _, node := range l.p.containers(l.cluster, "node") {
		// What a copy of the data, or a backup, would carry.
		places = append(places, place{
			"PostgreSQL's configuration of " + node,
			mustInside(t, node, "sh", "-c", "cat /data/patroni/*.conf /data/patroni/*.json"), "max_connections",
		})
	}
	return places
}

// programPlaces are what the program tells, keeps and says when it goes wrong.
func (l *locked) programPlaces(t *testing.T, po, rival *portal) []place {
	t.Helper()
	page := func(path string) string {
		resp, err := http.Get("http://" + l.p.httpAddr + path)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text)
	}
	dump := mustInside(t, l.p.stateContainer(), "pg_dump", "-U", "postgres", "-h", "/run/postgresql", "postgres")
	places := []place{
		{"the program's log", l.p.log(), "request accepted"},
		{"/metrics", page("/metrics"), "pgforeman_"}, {"/readyz", page("/readyz"), "database"},
		{"/healthz", page("/healthz"), ""}, {"what does not exist", page("/debug/pprof/heap"), ""},
		{"dump of the state database", dump, "COPY public.secrets"},
	}
	for _, of := range []*portal{po, rival} {
		of.mu.Lock()
		events, err := json.Marshal(of.events)
		of.mu.Unlock()
		require.NoError(t, err)
		places = append(places, place{"events of " + of.tenant, string(events), "operation."})
	}
	as := []string{"--tenant", l.tenant}
	var letters []jobs.DeadLetterView
	l.p.json(&letters, append([]string{"dead", "list"}, as...)...)
	require.NotEmpty(t, letters)
	for _, args := range [][]string{
		{"dead", "show", letters[0].ID, "-o", "json"}, {"operation", "show", letters[0].OperationID, "-o", "json"},
		{"operation", "list", "-o", "json"}, {"cluster", "show", l.cluster, "-o", "json"}, {"cluster", "status", l.cluster, "-o", "json"},
		{"cluster", "list"}, {"events", "--since", "1h"},
	} {
		places = append(places, place{strings.Join(args, " "), l.p.must(append(args, as...)...), ""})
	}
	for _, args := range [][]string{
		{"cluster", "credentials", l.cluster, "--user", "nobody"}, {"cluster", "credentials", "nothing"},
		{"cluster", "create", l.cluster, "--wait"}, {"operation", "cancel", letters[0].OperationID, "--yes", "--wait"},
		{"cluster", "create", "x", "--parameter", "archive_command=x", "--wait"},
	} {
		out, errs, code := l.p.run(append(args, as...)...)
		require.NotZerof(t, code, "%v has to go wrong", args)
		places = append(places, place{"error of " + strings.Join(args, " "), out + errs, ""})
	}
	return places
}

// searchFolder searches what the program has on its disk: what JetStream keeps,
// every request, event and dead letter, and all else but the two files that are
// secrets.
func (l *locked) searchFolder(t *testing.T, search func(string, io.Reader) int64) {
	t.Helper()
	var size int64
	require.NoError(t, filepath.WalkDir(l.p.dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if filepath.Dir(path) == l.p.dir && (d.Name() == "key" || d.Name() == "database-password") {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return nil //nolint:nilerr // compacted meanwhile
		}
		defer func() { _ = f.Close() }()
		size += search(path, f)
		return nil
	}))
	require.Greater(t, size, int64(10_000))
}

// searchImages searches every layer of the images, and how they were made.
func (l *locked) searchImages(t *testing.T, search func(string, io.Reader) int64) {
	t.Helper()
	args := []string{"save"}
	for _, name := range images.Images() {
		tag := name.Tag()
		args = append(args, tag)
		search("history of "+tag, strings.NewReader(docker(t, "history", "--no-trunc", tag)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	layers, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	size := search("layers of the images", layers)
	require.NoError(t, cmd.Wait())
	require.Greater(t, size, int64(100<<20), "layers of the images")
}
