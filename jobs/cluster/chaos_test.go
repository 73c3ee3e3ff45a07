package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// TestChaos runs the real engine, several workers of it, on a real PostgreSQL
// and a real NATS server, with the real catalogue on a host in memory, while
// everything that can go wrong does, and checks in the end that all that the
// design promises has held.
//
// Each seed is a history of its own: what the portal asks, which call fails how,
// where workers die and sleep, when the database is away. Goroutines still run as
// they like, so a seed brings much the same faults again rather than the same
// history.
//
//	PGFOREMAN_CHAOS_SEEDS=1000 go test -run 'TestChaos$' -timeout 60m -v ./jobs/cluster    more seeds
//	PGFOREMAN_CHAOS_SEED=17    go test -run 'TestChaos$' -v ./jobs/cluster                 one of them
//	PGFOREMAN_CHAOS_LOG=1      with the workers' logs
//	PGFOREMAN_CHAOS_SIDE=8     so many seeds at the same time
//	PGFOREMAN_CHAOS_BUDGET=30m none is begun after so long
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a PostgreSQL server")
	}
	t.Cleanup(storetest.Stop)
	sum := newSummary()
	next := make(chan uint64)
	var side sync.WaitGroup
	for range number("PGFOREMAN_CHAOS_SIDE", 8) {
		side.Go(func() {
			for seed := range next {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed, sum) })
			}
		})
	}
	first, last := 1, number("PGFOREMAN_CHAOS_SEEDS", 40)
	if only := number("PGFOREMAN_CHAOS_SEED", 0); only > 0 {
		first, last = only, only
	}
	budget, _ := time.ParseDuration(os.Getenv("PGFOREMAN_CHAOS_BUDGET"))
	for seed := first; seed <= last && (budget == 0 || time.Since(sum.began) < budget); seed++ {
		next <- uint64(seed)
	}
	close(next)
	side.Wait()
	t.Log(sum.String())
	if sum.seeds >= enoughSeeds && !t.Failed() {
		sum.triedAll(t)
	}
}

// enoughSeeds together have to see everything.
const enoughSeeds = 40

// triedAll fails when the seeds together left something out: what is not tried is
// not known to hold.
func (m *summary) triedAll(t *testing.T) {
	t.Helper()
	for _, f := range allFaults {
		if m.faults[f] == nil {
			t.Errorf("no seed had %q", f)
		}
	}
	for _, invariant := range invariants {
		if m.checked[invariant] == 0 {
			t.Errorf("nothing was checked for %q", invariant)
		}
	}
	late := 0
	for _, f := range []fault{faultSelf, faultBehind} {
		if sum := m.faults[f]; sum != nil {
			late += sum.times
		}
	}
	if late < 2*m.seeds {
		t.Errorf("%d results came too late in %d seeds: too few", late, m.seeds)
	}
}

func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 0 {
		return n
	}
	return otherwise
}

// chaos is one seed.
func chaos(t *testing.T, seed uint64, sum *summary) {
	s := newSim(t, seed)
	s.run()
	s.close()
	sum.add(s)
	if len(s.violations) == 0 {
		t.Logf("seed done, what happened:\n  %s", strings.Join(s.story, "\n  "))
		return
	}
	var text strings.Builder
	for _, v := range s.violations[:min(len(s.violations), 12)] {
		fmt.Fprintf(&text, "\n  %s: %s", v.invariant, v.text)
	}
	t.Errorf("seed %d: %d violations; again: PGFOREMAN_CHAOS_SEED=%d go test -count 1 -v -run 'TestChaos$' ./jobs/cluster%s\nwhat happened:\n  %s",
		seed, len(s.violations), seed, text.String(), strings.Join(s.story, "\n  "))
}

// summary adds up what the seeds have seen.
type summary struct {
	began time.Time

	mu         sync.Mutex
	seeds      int
	faults     map[fault]*faultSum
	checked    map[string]int
	violations map[string]int
	struckAt   map[string]bool
}

type faultSum struct {
	times, seeds, violations int
	recovery                 []time.Duration
}

func newSummary() *summary {
	return &summary{began: time.Now(), faults: map[fault]*faultSum{}, checked: map[string]int{}, violations: map[string]int{}, struckAt: map[string]bool{}}
}

func (m *summary) add(s *sim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seeds++
	for f, st := range s.seen {
		if m.faults[f] == nil {
			m.faults[f] = &faultSum{}
		}
		sum := m.faults[f]
		sum.times += st.times
		sum.seeds++
		sum.violations += len(s.violations)
		sum.recovery = append(sum.recovery, st.recovery...)
	}
	maps.Copy(m.struckAt, s.struckAt)
	for invariant, n := range s.checked {
		m.checked[invariant] += n
	}
	for _, v := range s.violations {
		m.violations[v.invariant]++
	}
}

// struck is at how many boundaries a fault struck workers.
func (m *summary) struck(f fault) int {
	n := 0
	for where := range m.struckAt {
		if strings.HasPrefix(where, string(f)+" ") {
			n++
		}
	}
	return n
}

// spared are the boundaries at which no worker died.
func (m *summary) spared() []string {
	var missed []string
	for i := range boundaries() {
		if at := boundary(i); !m.struckAt[string(faultKill)+" "+at] {
			missed = append(missed, strings.TrimSpace(at))
		}
	}
	return missed
}

// String is the two tables: by fault and by invariant.
func (m *summary) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	checks := 0
	for _, n := range m.checked {
		checks += n
	}
	fmt.Fprintf(&b, "SUMMARY of the simulation: %d seeds in %s, %d checks of %d invariants; workers died at %d and slept at %d of %d boundaries\n\n",
		m.seeds, time.Since(m.began).Round(time.Second), checks, len(m.checked), m.struck(faultKill), m.struck(faultFreeze), boundaries())
	fmt.Fprintf(&b, "| %-24s | %7s | %6s | %10s | %10s | %10s |\n", "fault", "times", "seeds", "violations", "median", "longest")
	fmt.Fprintf(&b, "|%s|%s:|%s:|%s:|%s:|%s:|\n", strings.Repeat("-", 26), strings.Repeat("-", 8), strings.Repeat("-", 7),
		strings.Repeat("-", 11), strings.Repeat("-", 11), strings.Repeat("-", 11))
	for _, f := range slices.SortedFunc(maps.Keys(m.faults), func(a, b fault) int { return cmp.Compare(a, b) }) {
		sum := m.faults[f]
		slices.Sort(sum.recovery)
		median, longest := "", ""
		if n := len(sum.recovery); n > 0 {
			median, longest = sum.recovery[n/2].Round(time.Millisecond).String(), sum.recovery[n-1].Round(time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %-24s | %7d | %6d | %10d | %10s | %10s |\n", f, sum.times, sum.seeds, sum.violations, median, longest)
	}
	if missed := m.spared(); m.seeds > boundaries() && len(missed) > 0 {
		fmt.Fprintf(&b, "\nno worker died at: %s\n", strings.Join(missed, ", "))
	}
	fmt.Fprintf(&b, "\n| %-62s | %9s | %10s |\n|%s|%s:|%s:|\n", "invariant", "checks", "violations",
		strings.Repeat("-", 64), strings.Repeat("-", 10), strings.Repeat("-", 11))
	for _, invariant := range slices.Sorted(maps.Keys(m.checked)) {
		fmt.Fprintf(&b, "| %-62s | %9d | %10d |\n", invariant, m.checked[invariant], m.violations[invariant])
	}
	return b.String()
}
