package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func drawOperations(out io.Writer, ops []jobs.OperationView) error {
	t := newTable("ID", "KIND", "CLUSTER", "STATE", "DONE", "ACCEPTED", "TOOK", "ERROR")
	for _, o := range ops {
		failed := ""
		if o.Error != nil {
			failed = string(o.Error.Code)
		}
		t.row(o.ID, string(o.Kind), o.Cluster, o.State, strconv.Itoa(o.Percent)+"%", stamp(o.AcceptedAt), took(o.StartedAt, o.FinishedAt), failed)
	}
	return t.write(out, "There is no such operation.")
}

func (f *front) drawOperation(out io.Writer, o jobs.OperationView) error {
	w := &strings.Builder{}
	state := o.State
	if o.Undo != "" {
		state += " (" + o.Undo + ")"
	}
	fmt.Fprintln(w, fields([][]string{
		{"operation", o.ID}, {"request", o.RequestID}, {"asked by", o.Actor}, {"kind", string(o.Kind)}, {"cluster", o.Cluster},
		{"state", state}, {"done", strconv.Itoa(o.Percent) + "%"}, {"replays", number(o.Replays)},
		{"accepted", stamp(o.AcceptedAt)}, {"started", stampOf(o.StartedAt)}, {"finished", stampOf(o.FinishedAt)},
		{"took", took(o.StartedAt, o.FinishedAt)},
	}))
	if o.Error != nil {
		fmt.Fprintln(w, "\n"+faultLines(o.Error))
	}
	drawSteps(w, o)
	switch jobs.OperationState(o.State) {
	case jobs.OperationFailed:
		fmt.Fprintln(w, "\nIt waits as a dead letter:\n"+f.deadCommands(o.ID))
	case jobs.OperationQueued, jobs.OperationRunning, jobs.OperationUndoing:
		fmt.Fprintln(w, "\nIt goes on: "+f.command("operation watch %s", o.ID))
	case jobs.OperationSucceeded, jobs.OperationCancelled:
	}
	_, err := io.WriteString(out, w.String())
	return err
}

// drawSteps are the steps by stage, each with what it saw last.
func drawSteps(w *strings.Builder, o jobs.OperationView) {
	if len(o.Steps) == 0 {
		return
	}
	t := newTable("STAGE", "STEP", "NODE", "STATE", "ATTEMPT", "TOOK", "SEEN")
	last := 0
	for _, s := range o.Steps {
		stage := ""
		if s.Stage != last && s.Stage >= 1 {
			stage, last = strconv.Itoa(s.Stage), s.Stage
			if s.Stage <= len(o.Stages) {
				stage += " " + o.Stages[s.Stage-1]
			}
		}
		t.row(stage, s.Name, s.Node, s.State, number(s.Attempt), took(s.StartedAt, s.FinishedAt), seenBy(s))
	}
	fmt.Fprintln(w, "\n"+strings.TrimRight(drawn(append([][]string{t.header}, t.rows...), "", ""), "\n"))
}

// seenBy is why a step failed, or what it saw last while that still counts.
func seenBy(s jobs.StepView) string {
	switch {
	case jobs.StepState(s.State) == jobs.StepSucceeded, jobs.StepState(s.State) == jobs.StepUndone:
		return ""
	case s.Error != nil:
		return s.Error.Message
	case s.Observation != nil:
		return observed(*s.Observation)
	}
	return ""
}

// stampOf is a time that may be missing.
func stampOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return stamp(*t)
}
