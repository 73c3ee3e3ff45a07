package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// buildFailpoints builds the program with its failure points compiled in.
var buildFailpoints = sync.OnceValues(func() (string, error) { return build("failpoint", "-tags", "failpoint") })

// TestKilledAtEveryBoundary kills the worker with SIGKILL before and after the
// commits and side effects of operations on the real Engine, and starts it
// again: everything ends as if it had never died. A few boundaries are named in
// the lives; for more of them a run of each life without a kill lists all. They
// are tried several side by side, each with a NATS server, a state database and
// an instance of its own.
//
//	PGFOREMAN_CHAOS_KILLS=all go test -run 'TestKilledAtEveryBoundary$' -timeout 3h -v ./integration    all of them (make chaos)
//	PGFOREMAN_CHAOS_KILLS=20  …                                                                         so many of each life, evenly
//	PGFOREMAN_CHAOS_KILLS=list …                                                                        list them, kill nothing
//	PGFOREMAN_CHAOS_KILL='create and delete: before enable etcd authentication' …                       this one, or several, a line each
//	PGFOREMAN_CHAOS_SIDE=3      so many side by side
//	PGFOREMAN_CHAOS_BUDGET=30m  none is begun after so long
func TestKilledAtEveryBoundary(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	bin, err := buildFailpoints()
	require.NoError(t, err)
	checkList(t, bin)

	sum := newKillSummary()
	side := newSides(sideBySide())
	var todo []kill
	switch {
	case os.Getenv("PGFOREMAN_CHAOS_KILL") != "":
		for line := range strings.Lines(os.Getenv("PGFOREMAN_CHAOS_KILL")) {
			todo = append(todo, killOf(t, strings.TrimSpace(line)))
		}
	case os.Getenv("PGFOREMAN_CHAOS_KILLS") != "":
		todo = chooseAll(t, countAll(t, bin, sum, side))
	default:
		todo = samples()
	}
	for _, k := range todo {
		side.do(func() {
			if late := budget() > 0 && time.Since(sum.began) > budget(); late || sum.failed.Load() >= enough {
				sum.untried.Add(1)
				return
			}
			k.run(t, bin, sum)
		})
	}
	side.wait()
	t.Log(sum.String())
	require.LessOrEqualf(t, sum.missed()*20, sum.tried(), "more than one boundary in twenty was not met: they are not the same in every run")
}

// enough failures end the test: something is wrong that every kill would show.
const enough = 12

// sides runs things side by side, so many at a time.
type sides struct {
	slots   chan struct{}
	running sync.WaitGroup
}

func newSides(n int) *sides { return &sides{slots: make(chan struct{}, n)} }

// do waits for a free slot and runs f in it.
func (s *sides) do(f func()) {
	s.slots <- struct{}{}
	s.running.Go(func() {
		defer func() { <-s.slots }()
		f()
	})
}

func (s *sides) wait() { s.running.Wait() }

// budget is the time after which no more kills are begun; 0 for all of them.
func budget() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("PGFOREMAN_CHAOS_BUDGET"))
	return d
}

// checkList asks the program for its failure points: a method of the store that
// neither has one nor only reads has been forgotten.
func checkList(t *testing.T, bin string) {
	t.Helper()
	out, err := exec.Command(bin, "failpoints").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "unknown ", "methods without a failure point; see cmd/pgforeman/failpoint_on.go")
	require.Greater(t, strings.Count(string(out), "point "), 20, "the failure points are not compiled in:\n%s", out)
}

func sideBySide() int {
	if n, err := strconv.Atoi(os.Getenv("PGFOREMAN_CHAOS_SIDE")); err == nil && n > 0 {
		return n
	}
	return 3
}

// countAll runs every life without a kill.
func countAll(t *testing.T, bin string, sum *killSummary, side *sides) []counted {
	t.Helper()
	all := make([]counted, len(lives()))
	for i, l := range lives() {
		side.do(func() {
			t.Run(l.name, func(t *testing.T) {
				began := time.Now()
				passed, v := pass(t, bin, l)
				sum.add(kill{life: l}, true, 0, v)
				all[i] = counted{l, worthKilling(passed)}
				t.Logf("%d boundaries, %d to die at, in %.1f s", len(passed), len(all[i].boundaries), time.Since(began).Seconds())
				require.Greater(t, len(passed), 50)
			})
		})
	}
	side.wait()
	return all
}

// kill is a life in which the worker dies at a boundary.
type kill struct {
	life life
	at   string
	rank int // see rank
}

func killOf(t *testing.T, text string) kill {
	t.Helper()
	name, at, _ := strings.Cut(text, ": ")
	i := slices.IndexFunc(lives(), func(l life) bool { return l.name == name })
	require.GreaterOrEqualf(t, i, 0, "PGFOREMAN_CHAOS_KILL=%q: want LIFE: BOUNDARY", text)
	return kill{lives()[i], at, 0}
}

// tries is how often a boundary is looked for: some come only with the right
// timing, like a step's progress.
const tries = 2

func (k kill) run(t *testing.T, bin string, sum *killSummary) {
	for range tries {
		met := false
		passed := t.Run(k.life.name+": "+k.at, func(t *testing.T) {
			began := time.Now()
			var v *verdicts
			var recovered time.Duration
			defer func() { // also when it has failed
				sum.add(k, met || t.Failed(), recovered, v)
				if t.Failed() {
					sum.failed.Add(1)
					t.Logf("again: PGFOREMAN_CHAOS_KILL='%s: %s' go test -count 1 -v -run 'TestKilledAtEveryBoundary$' ./integration", k.life.name, k.at)
				}
			}()
			m := startMortal(t, bin, k.life, "PGFOREMAN_FAILPOINT_KILL="+k.at)
			v = m.liveThrough()
			met, recovered = !m.died.IsZero(), m.recovered()
			t.Logf("killed: %t, the work went on after %.1f s, at rest after %.1f s", met, recovered.Seconds(), time.Since(began).Seconds())
		})
		if met || !passed {
			return
		}
	}
}

// pass lives a life without a kill and gives the boundaries.
func pass(t *testing.T, bin string, l life) ([]string, *verdicts) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "points")
	m := startMortal(t, bin, l, "PGFOREMAN_FAILPOINT_LOG="+log)
	v := m.liveThrough()
	raw, err := os.ReadFile(log)
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(raw)), "\n"), v
}

// liveThrough lives its life and checks its end.
func (m *mortal) liveThrough() *verdicts {
	m.t.Helper()
	m.life.run(m)
	v := checkAll(m, m.life)
	for law, what := range v.violated {
		m.t.Errorf("%s: %s", law, what)
	}
	return v
}
