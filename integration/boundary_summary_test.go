package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// killSummary adds up what the kills have shown, in the form of TestChaos.
type killSummary struct {
	began time.Time

	mu         sync.Mutex
	faults     map[string]*killSum // by "killed before store.Update"
	checked    map[string]int
	violations map[string]int
	notMet     map[string]int // by life and boundary
	untried    atomic.Int64   // for want of time, or after too many failures
	failed     atomic.Int64
}

type killSum struct {
	times, checks, violations int
	recovery                  []time.Duration
}

func newKillSummary() *killSummary {
	return &killSummary{
		began: time.Now(), faults: map[string]*killSum{}, checked: map[string]int{}, violations: map[string]int{}, notMet: map[string]int{},
	}
}

// add notes a pass; v is nil when it did not come to its end.
func (m *killSummary) add(k kill, met bool, recovered time.Duration, v *verdicts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fault, where := "none", k.life.name+": "+k.at
	if k.at != "" {
		when, _, _ := strings.Cut(k.at, " ")
		fault = "killed " + when + " " + kindOf(k.at)
	}
	if v == nil {
		v = &verdicts{checked: map[string]int{lawEnds: 1}, violated: map[string]string{lawEnds: ""}}
	}
	for law, n := range v.checked {
		m.checked[law] += n
	}
	for law := range v.violated {
		m.violations[law]++
	}
	if !met {
		m.notMet[where]++
		return
	}
	delete(m.notMet, where)
	if m.faults[fault] == nil {
		m.faults[fault] = &killSum{}
	}
	f := m.faults[fault]
	f.times++
	f.violations += len(v.violated)
	for _, n := range v.checked {
		f.checks += n
	}
	if recovered > 0 {
		f.recovery = append(f.recovery, recovered)
	}
}

// missed is how many boundaries were never met, tried how many were looked for.
func (m *killSummary) missed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.notMet)
}

func (m *killSummary) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.notMet)
	for fault, f := range m.faults {
		if fault != "none" {
			n += f.times
		}
	}
	return n
}

// String is the two tables: by fault and by invariant.
func (m *killSummary) String() string {
	kills := m.tried() - m.missed()
	m.mu.Lock()
	defer m.mu.Unlock()
	checks, violations := 0, 0
	for law, n := range m.checked {
		checks += n
		violations += m.violations[law]
	}
	all := &killSum{}
	for _, f := range m.faults {
		all.times, all.checks, all.violations = all.times+f.times, all.checks+f.checks, all.violations+f.violations
		all.recovery = append(all.recovery, f.recovery...)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SUMMARY of SIGKILL at boundaries on real Docker: %d kills in %s, %d checks of %d invariants, %d violations\n\n",
		kills, time.Since(m.began).Round(time.Second), checks, len(m.checked), violations)
	fmt.Fprintf(&b, "| %-52s | %5s | %6s | %10s | %8s | %8s |\n|%s|%s:|%s:|%s:|%s:|%s:|\n", "fault", "times", "checks", "violations", "median", "longest",
		strings.Repeat("-", 54), strings.Repeat("-", 6), strings.Repeat("-", 7), strings.Repeat("-", 11), strings.Repeat("-", 9), strings.Repeat("-", 9))
	for _, fault := range slices.Sorted(maps.Keys(m.faults)) {
		fmt.Fprintln(&b, m.faults[fault].row(fault))
	}
	fmt.Fprintln(&b, all.row("all"))
	fmt.Fprintf(&b, "\n| %-62s | %9s | %10s |\n|%s|%s:|%s:|\n", "invariant", "checks", "violations",
		strings.Repeat("-", 64), strings.Repeat("-", 10), strings.Repeat("-", 11))
	for _, law := range slices.Sorted(maps.Keys(m.checked)) {
		fmt.Fprintf(&b, "| %-62s | %9d | %10d |\n", law, m.checked[law], m.violations[law])
	}
	if n := m.untried.Load(); n > 0 {
		fmt.Fprintf(&b, "\n%d boundaries not tried: PGFOREMAN_CHAOS_BUDGET was over, or too much had failed", n)
	}
	for _, where := range slices.Sorted(maps.Keys(m.notMet)) {
		fmt.Fprintf(&b, "\nnot met in %d runs: %s", m.notMet[where], where)
	}
	return b.String()
}

func (f *killSum) row(name string) string {
	median, longest := "", ""
	slices.Sort(f.recovery)
	if n := len(f.recovery); n > 0 {
		median, longest = f.recovery[n/2].Round(10*time.Millisecond).String(), f.recovery[n-1].Round(10*time.Millisecond).String()
	}
	return fmt.Sprintf("| %-52s | %5d | %6d | %10d | %8s | %8s |", name, f.times, f.checks, f.violations, median, longest)
}
