package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// board is what is known of an operation from its events: the stages that are
// done, and the steps of the one that runs. It is pure: events in, lines out.
type board struct {
	operation string
	kind      jobs.KindName
	cluster   string
	titles    []string // of the stages, where they are known
	began     time.Time
	last      time.Time // of the last event
	percent   int
	stage     int // from 1; 0 before the first
	stages    int
	undo      bool
	steps     []*stepLine // of the stage that runs
	ended     jobs.EventType
	message   string // the last event's
}

// stepLine is a step of the stage that runs.
type stepLine struct {
	name, node string
	title      string
	mark       mark
	attempt    int
	seen       string
}

// mark is how a step stands.
type mark int

const (
	markRunning mark = iota
	markRetrying
	markDone
	markFailed
)

// take brings the board up to date.
func (b *board) take(e jobs.Event) {
	d, typ := e.Data, client.TypeOf(e)
	if b.began.IsZero() {
		b.began = e.Time
	}
	b.last, b.message, b.percent = e.Time, d.Message, max(b.percent, d.Percent)
	if d.OperationID != "" {
		b.operation, b.kind, b.cluster = d.OperationID, d.Kind, d.Cluster
	}
	switch typ { //nolint:exhaustive // the others only bring a message
	case jobs.OperationStarted:
		b.ended, b.steps = "", nil // again, after a replay
	case jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationCancelledEv, jobs.OperationRejected:
		b.ended = typ
	}
	if d.Step != nil {
		b.step(typ, d)
	}
}

func (b *board) step(typ jobs.EventType, d jobs.EventData) {
	at := d.Step
	if at.Stage != b.stage || at.Undo != b.undo {
		b.stage, b.stages, b.undo, b.steps = at.Stage, at.Stages, at.Undo, nil
	}
	line := b.line(at)
	line.attempt = max(line.attempt, at.Attempt)
	switch typ { //nolint:exhaustive // no other has a step
	case jobs.StepStarted:
		if line.mark != markRetrying {
			line.mark, line.seen = markRunning, ""
		}
	case jobs.StepProgressed:
		line.mark = markRunning
		if d.Progress != nil {
			line.seen = observed(*d.Progress)
		}
	case jobs.StepRetrying:
		line.mark = markRetrying
		if d.Error != nil {
			line.seen = d.Error.Message
		}
	case jobs.StepSucceededEv:
		line.mark, line.seen = markDone, ""
	case jobs.StepFailedEv:
		line.mark = markFailed
		if d.Error != nil {
			line.seen = d.Error.Message
		}
	}
}

// line finds the line of a step, or adds it.
func (b *board) line(at *jobs.EventStep) *stepLine {
	for _, l := range b.steps {
		if l.name == at.Name && l.node == at.Node {
			return l
		}
	}
	l := &stepLine{name: at.Name, node: at.Node, title: at.Title}
	if l.title == "" {
		l.title = at.Name
	}
	b.steps = append(b.steps, l)
	return l
}

// observed is what a step saw last, with its share where that can be counted.
func observed(o jobs.Observation) string {
	if o.Total <= 0 {
		return o.Message
	}
	return fmt.Sprintf("%s (%d%%)", o.Message, min(100, 100*max(0, o.Done)/o.Total))
}

// paint is how lines are coloured; the zero value leaves them as they are.
type paint bool

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
)

func (p paint) in(colour, s string) string {
	if !p || colour == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// lines draws the board in width columns and at most height lines.
func (b *board) lines(now time.Time, width, height int, p paint) []string {
	if b.operation == "" && b.ended == "" {
		return nil
	}
	head := []string{fit(fmt.Sprintf("%s %s  operation %s", b.kind, b.cluster, b.operation), width), b.bar(now, width, p)}
	done := b.stagesDone(width, p)
	var steps []string
	if b.ended != jobs.OperationSucceededEv || len(done) == 0 {
		for _, l := range b.steps {
			steps = append(steps, l.draw(width, p))
		}
	}
	if over := len(head) + len(done) + len(steps) - height; over > 0 {
		done = done[min(over, len(done)):]
	}
	out := append(append(head, done...), steps...)
	return out[:min(len(out), max(height, len(head)))]
}

// stagesDone are the stages before the one that runs.
func (b *board) stagesDone(width int, p paint) []string {
	if b.undo {
		return nil
	}
	var out []string
	for i, title := range b.titles {
		if i+1 < b.stage || b.ended == jobs.OperationSucceededEv && i+1 <= b.stage {
			out = append(out, p.in(green, fit("  ✓ "+title, width)))
		}
	}
	return out
}

// bar is the percentage, the stage and the time.
func (b *board) bar(now time.Time, width int, p paint) string {
	const cells = 24
	filled := cells * b.percent / 100
	bar := strings.Repeat("█", filled) + strings.Repeat("░", cells-filled)
	text := fmt.Sprintf(" %3d%%", b.percent)
	if b.ended != "" {
		now = b.last
		text += "  " + strings.TrimPrefix(string(b.ended), "operation.")
	} else if b.stage > 0 {
		doing := "stage"
		if b.undo {
			doing = "undoing stage"
		}
		text += fmt.Sprintf("  %s %d of %d", doing, b.stage, b.stages)
		if b.stage <= len(b.titles) {
			text += ": " + b.titles[b.stage-1]
		}
	}
	text += "  " + span(now.Sub(b.began))
	colour := green
	switch {
	case b.ended != "" && b.ended != jobs.OperationSucceededEv:
		colour = red
	case b.undo:
		colour = yellow
	}
	return p.in(colour, fit(bar, width)) + fit(text, max(0, width-cells))
}

func (l *stepLine) draw(width int, p paint) string {
	sign, colour := "·", ""
	switch l.mark {
	case markRunning:
	case markRetrying:
		sign, colour = "!", yellow
	case markDone:
		sign, colour = "✓", green
	case markFailed:
		sign, colour = "✗", red
	}
	text := "    " + sign + " " + l.title
	if l.node != "" {
		text += " " + l.node
	}
	if l.attempt > 1 && l.mark != markDone {
		text += fmt.Sprintf("  attempt %d", l.attempt)
	}
	if l.seen != "" {
		text += "  " + l.seen
	}
	return p.in(colour, fit(text, width))
}

// fit cleans text and cuts it to width columns.
func fit(s string, width int) string {
	s = clean(s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}
