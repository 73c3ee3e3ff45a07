package worker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// What moves a step's deadline: coming further, not saying something else.
func TestOnlyProgressMovesTheDeadline(t *testing.T) {
	tell := newTeller(false, defaultTiming())
	bytes := func(done int64) jobs.Observation {
		return jobs.Observation{Message: fmt.Sprintf("copied %d", done), Done: done, Total: 100, Unit: "bytes"}
	}
	state := func(s string) jobs.Observation { return jobs.Observation{Message: s} }
	for i, r := range []struct {
		seen  jobs.Observation
		moves bool
	}{
		{state("starting"), true},
		{bytes(0), true},
		{bytes(60), true},
		{bytes(60), false},
		{state("the copy failed"), true},
		{bytes(0), false}, // it begins again
		{bytes(60), false},
		{state("the copy failed"), false},
		{state("starting"), false},
		{bytes(61), true},
		{jobs.Observation{Message: "1 of 3", Done: 1, Total: 3, Unit: "members"}, true},
	} {
		tell.report(r.seen)
		require.Equal(t, r.moves, tell.moves(), "report %d: %s", i, r.seen.Message)
		require.Equal(t, r.seen.Message, tell.seen(), "people see the last one in any case")
	}
	moved := 0
	for i := range 10 * maxStates {
		tell.report(state(fmt.Sprint("error of connection ", i)))
		if tell.moves() {
			moved++
		}
	}
	require.LessOrEqual(t, moved, maxStates)
}
