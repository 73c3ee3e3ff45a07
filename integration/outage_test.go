package integration

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// outage is one way in which one of a worker's servers can be away.
type outage struct {
	name       string
	dependency string // as /readyz names it
	mode       proxyMode
	// between puts a proxy between a worker of the site and the server; it gives
	// the setting that leads through it.
	between func(t *testing.T, s *site) (*proxy, string)
}

// outages are all of them that are tried.
var outages = []outage{
	{"NATS refuses", "nats", proxyRefuses, proxyToNATS},
	{"NATS half open", "nats", proxyVanishes, proxyToNATS},
	{"database refuses", "database", proxyRefuses, proxyToDatabase},
	{"database half open", "database", proxyVanishes, proxyToDatabase},
	{"Docker refuses", "docker", proxyRefuses, proxyToDocker},
	{"Docker hangs", "docker", proxyHangs, proxyToDocker},
}

func proxyToNATS(t *testing.T, s *site) (*proxy, string) {
	p := newProxy(t, "tcp", "127.0.0.1:0", s.natsAddr)
	return p, "PGFOREMAN_NATS_URL=nats://" + p.addr
}

func proxyToDatabase(t *testing.T, s *site) (*proxy, string) {
	dsn, err := url.Parse(s.db.DSN)
	require.NoError(t, err)
	p := newProxy(t, "tcp", "127.0.0.1:0", dsn.Host)
	dsn.Host = p.addr
	return p, "PGFOREMAN_DATABASE_URL=" + dsn.String()
}

func proxyToDocker(t *testing.T, _ *site) (*proxy, string) {
	dir, err := os.MkdirTemp("", "pgforeman-") // t.TempDir is too long for a socket's name
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := newProxy(t, "unix", dir+"/docker.sock", "/var/run/docker.sock")
	return p, "PGFOREMAN_DOCKER_HOST=unix://" + p.addr
}

// Bounds of the test, generous for a loaded machine.
const (
	noticeLimit  = 20 * time.Second // until /readyz says who is away
	recoverLimit = time.Minute      // from the end of the outage until /readyz says 200
	finishLimit  = 5 * time.Minute  // until the creation is done
	// logLimit is how many lines a worker may log from the beginning of an outage
	// until it is ready again, whatever its length; two of them are about the
	// dependency, the others about what it held up.
	logLimit = 10
)

// outageLength is longer than leases, fences and the limits of statements.
func outageLength(t *testing.T) time.Duration {
	given := os.Getenv("PGFOREMAN_CHAOS_OUTAGE")
	if given == "" {
		return 20 * time.Second
	}
	length, err := time.ParseDuration(given)
	require.NoError(t, err, "PGFOREMAN_CHAOS_OUTAGE")
	return length
}

// trial is one outage tried on a site and a worker of its own, while it creates
// a cluster.
type trial struct {
	outage
	site   *site
	worker *workerProcess
	proxy  *proxy
	portal *portal

	began, healed time.Time
	logged        int // bytes of the log before the outage
	cpu           time.Duration

	noticed, ready, finished time.Duration // since began, healed, healed; 0 for not yet
	lines                    []string      // logged from the beginning until ready
	used                     time.Duration // CPU of the worker during the outage
	trouble                  []string      // what /readyz said wrongly
	alone                    bool          // /readyz said that this one is away, and no other
	deleting                 bool
	deleted                  bool
}

// TestOutages takes each server away from a worker that is creating a cluster, in
// every way, all at the same time on sites of their own. The worker stays up and
// says so in /readyz and, once, in its log; when the server is back it goes on by
// itself, and the creation ends as if nothing had happened.
// PGFOREMAN_CHAOS_OUTAGE=1m sets the length.
func TestOutages(t *testing.T) {
	length := outageLength(t)
	var trials []*trial
	for _, o := range outages {
		s := newSite(t)
		tr := &trial{outage: o, site: s}
		var setting string
		tr.proxy, setting = o.between(t, s)
		tr.worker = s.newWorker(strings.ReplaceAll(o.name, " ", "-"), setting)
		tr.worker.start()
		trials = append(trials, tr)
	}
	for _, tr := range trials {
		tr.worker.awaitReady(time.Minute)
		tr.portal = openPortal(t, tr.site.program, "acme")
		tr.portal.publish("create", jobs.ClusterCreate, "orders", map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	}
	all(t, trials, 3*time.Minute, "creations under way", (*trial).begin)
	all(t, trials, length+noticeLimit, "outages to be noticed and over", func(tr *trial) error { return tr.outlast(length) })
	all(t, trials, recoverLimit, "workers to be ready again", (*trial).back)
	all(t, trials, finishLimit, "creations to be done", (*trial).done)
	all(t, trials, finishLimit, "deletions to be done", (*trial).remove)
	for _, tr := range trials {
		t.Run(tr.name, tr.check)
	}
	t.Log(outageTable(length, trials))
}

// all asks every trial again and again until none says an error.
func all(t *testing.T, trials []*trial, limit time.Duration, what string, ask func(*trial) error) {
	t.Helper()
	eventually(t, limit, what, func() error {
		var first error
		for _, tr := range trials {
			if err := ask(tr); err != nil && first == nil {
				first = fmt.Errorf("%s: %w", tr.name, err)
			}
		}
		return first
	})
}

// begin begins the outage as soon as the creation is under way.
func (tr *trial) begin() error {
	if !tr.began.IsZero() {
		return nil
	}
	if len(tr.site.containers("orders", "")) == 0 {
		return fmt.Errorf("no container of the cluster yet")
	}
	tr.logged, tr.cpu = len(tr.worker.log()), tr.worker.cpu()
	tr.began = time.Now()
	tr.proxy.set(tr.mode)
	return nil
}

// outlast watches the outage, and ends it when its time is up.
func (tr *trial) outlast(length time.Duration) error {
	if !tr.healed.IsZero() {
		return nil
	}
	away, others, err := tr.worker.away(tr.dependency)
	switch {
	case err != nil:
		tr.trouble = append(tr.trouble, err.Error())
	case away && tr.noticed == 0:
		tr.noticed = time.Since(tr.began)
	case !away && tr.noticed > 0:
		tr.trouble = append(tr.trouble, fmt.Sprintf("after %s /readyz says that %s is there", time.Since(tr.began), tr.dependency))
	}
	tr.alone = tr.alone || away && others == ""
	if tr.noticed == 0 || time.Since(tr.began) < length {
		return fmt.Errorf("away for %s, noticed after %s", time.Since(tr.began), tr.noticed)
	}
	tr.used = tr.worker.cpu() - tr.cpu
	tr.healed = time.Now()
	tr.proxy.set(proxyPasses)
	return nil
}

// back notes when the worker is ready again.
func (tr *trial) back() error {
	if tr.ready > 0 {
		return nil
	}
	if err := tr.worker.ready(); err != nil {
		return err
	}
	tr.ready = time.Since(tr.healed)
	for _, line := range strings.Split(strings.TrimSpace(tr.worker.log()[tr.logged:]), "\n") {
		// The sites do not know of each other's ports: containers are made again
		// with another one, which has nothing to do with outages.
		if !strings.Contains(line, "container replaced") {
			tr.lines = append(tr.lines, line)
		}
	}
	return nil
}

// done notes when the creation has ended.
func (tr *trial) done() error {
	if tr.finished > 0 {
		return nil
	}
	last := "nothing told"
	for _, e := range tr.portal.told("create") {
		last = e.Type + ": " + e.Data.Message
		switch e.Type {
		case jobs.EventTypeName(jobs.OperationSucceededEv), jobs.EventTypeName(jobs.OperationFailedEv):
			tr.finished = time.Since(tr.healed)
			return nil
		}
	}
	return fmt.Errorf("last event: %s", last)
}

// remove deletes the cluster and notes when it is gone.
func (tr *trial) remove() error {
	if !tr.deleting {
		tr.deleting = true
		tr.portal.publish("delete", jobs.ClusterDelete, "orders", map[string]any{})
	}
	for _, e := range tr.portal.told("delete") {
		switch e.Type {
		case jobs.EventTypeName(jobs.OperationSucceededEv):
			tr.deleted = true
			return nil
		case jobs.EventTypeName(jobs.OperationFailedEv), jobs.EventTypeName(jobs.OperationRejected):
			return nil // check tells
		}
	}
	return fmt.Errorf("not deleted yet")
}

// check says what must be so after all.
func (tr *trial) check(t *testing.T) {
	t.Logf("the worker's log during the outage:\n%s", strings.Join(tr.lines, "\n"))
	require.True(t, tr.worker.running(), "the worker stays up")
	require.Empty(t, tr.trouble)
	require.True(t, tr.alone, "/readyz says that %s alone is away", tr.dependency)
	require.LessOrEqual(t, tr.noticed, noticeLimit)
	require.LessOrEqual(t, len(tr.lines), logLimit, "lines logged")
	about := `"dependency":"` + tr.dependency + `"`
	require.Equal(t, 1, count(tr.lines, about, "dependency lost"))
	require.Equal(t, 1, count(tr.lines, about, "dependency back"))
	require.Less(t, tr.used, tr.healed.Sub(tr.began)/4, "CPU that a worker uses while it waits")

	ended := tr.portal.await("create", time.Second, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), ended.Type, "%+v", ended.Data.Error)
	tr.portal.checkOrder("create")
	require.True(t, tr.deleted, "the cluster is deleted")
	tr.portal.checkOrder("delete")
	require.Empty(t, leftoversOf(t, tr.site.program, "orders"))
	tr.site.quiet()
}

// count counts the lines that have all the parts.
func count(lines []string, parts ...string) int {
	n := 0
next:
	for _, line := range lines {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		n++
	}
	return n
}

// outageTable is the summary for docs/reliability.md; .ci/chaos looks for its first word.
func outageTable(length time.Duration, trials []*trial) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SUMMARY outages of %s\n\n| outage | noticed after | ready again after | creation done after | log lines | CPU meanwhile |\n|---|--:|--:|--:|--:|--:|\n", length)
	for _, tr := range trials {
		fmt.Fprintf(&b, "| %s | %.1f s | %.1f s | %.1f s | %d | %.1f s |\n", tr.name,
			tr.noticed.Seconds(), tr.ready.Seconds(), tr.finished.Seconds(), len(tr.lines), tr.used.Seconds())
	}
	return b.String()
}
