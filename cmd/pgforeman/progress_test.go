package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// boardOf has taken events of an operation with three stages.
func boardOf(events []jobs.Event) *board {
	b := &board{titles: []string{"Make the network", "Start the first node", "Copy the data to the replicas"}}
	for _, e := range events {
		b.take(e)
	}
	return b
}

func TestBoard(t *testing.T) {
	undoing := creation().
		tell(jobs.StepSucceededEv, "undone", step("node.basebackup", "copy the data", "orders-3", 3, 3), undone).
		tell(jobs.StepStarted, "undo", step("node.start", "start node", "orders-1", 2, 3), undone).events
	again := &recording{kind: jobs.ClusterCreate, percent: 55}
	again.tell(jobs.OperationStarted, "goes on at stage 3").
		tell(jobs.StepStarted, "copy the data orders-3", step("node.basebackup", "copy the data", "orders-3", 3, 9))
	replayed := append(broken(), again.events...)
	for name, b := range map[string]*board{
		"early": boardOf(creation().events[:3]), "middle": boardOf(creation().events), "done": boardOf(created()),
		"failed": boardOf(broken()), "undoing": boardOf(undoing), "replayed": boardOf(replayed),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, "board-"+name, strings.Join(b.lines(clock(20), 80, 24, false), "\n")+"\n")
		})
	}
	require.Empty(t, (&board{}).lines(clock(0), 80, 24, false), "nothing was told yet")
}

func TestBoardFitsTheTerminal(t *testing.T) {
	for _, events := range [][]jobs.Event{creation().events, created(), broken()} {
		for width := 1; width < 60; width += 7 {
			for height := 2; height < 9; height++ {
				lines := boardOf(events).lines(clock(20), width, height, false)
				require.LessOrEqual(t, len(lines), height)
				for _, l := range lines {
					require.LessOrEqual(t, utf8.RuneCountInString(l), width, l)
				}
			}
		}
	}
}

func TestBoardColours(t *testing.T) {
	lines := boardOf(creation().events).lines(clock(20), 80, 24, true)
	require.Contains(t, lines[len(lines)-1], "\x1b[33m", "a step that is tried again is yellow")
	for _, l := range lines {
		if strings.Contains(l, "\x1b[") {
			require.True(t, strings.Contains(l, "\x1b[0m"), l)
		}
	}
}

// TestLiveRedraws lets the live display write to a file: what it writes is what
// a terminal would get.
func TestLiveRedraws(t *testing.T) {
	path := filepath.Join(t.TempDir(), "screen")
	screen, err := os.Create(path)
	require.NoError(t, err)
	defer func() { _ = screen.Close() }()
	asked := 0
	l := newLive(screen, false, func(operation string) []string {
		require.Equal(t, opID, operation)
		asked++
		return []string{"Make the network", "Start the first node", "Copy the data to the replicas"}
	})
	for _, e := range created() {
		l.event(e)
	}
	l.note("a note")
	l.close()
	l.close()
	l.event(created()[0])
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, asked)
	last := string(raw[strings.LastIndex(string(raw), "\x1b[5A"):])
	golden(t, "live-last", strings.ReplaceAll(strings.ReplaceAll(last, "\r", ""), "\x1b", "ESC"))
	require.Contains(t, string(raw), "a note\x1b[K\r\n")
}
