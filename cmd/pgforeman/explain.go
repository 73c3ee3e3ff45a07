package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// explained is an error with what to do about it.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain puts an error of the SDK or of pgforeman into words for people, and
// gives it its exit code. An error that is explained already stays as it is.
func (f *front) explain(err error) error {
	var done *explained
	var told *jobs.Error
	switch {
	case err == nil, errors.As(err, &done):
		return err
	case errors.Is(err, client.ErrNoConnection), errors.Is(err, client.ErrNoStream), errors.Is(err, client.ErrNoWorker):
		return withCode(exitNoConnection, err)
	case errors.As(err, &told):
		return f.refusal(told, "")
	}
	return err
}

// refusal is an error of pgforeman with what to do next.
func (f *front) refusal(e *jobs.Error, operation string) error {
	text := faultLines(e)
	if hint := f.hint(e.Code, operation); hint != "" {
		text += "\n" + hint
	}
	return withCode(exitCode(e), &explained{text, e})
}

// faultLines are an error of pgforeman: its code and message; of a rejected
// request every fault on a line of its own.
func faultLines(e *jobs.Error) string {
	if len(e.Faults) == 0 {
		return clean(e.Error())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, count(len(e.Faults), "fault"))
	for _, x := range e.Faults {
		b.WriteString("\n  ")
		if x.Field != "" {
			b.WriteString(clean(x.Field) + ": ")
		}
		b.WriteString(clean(x.Message))
	}
	return b.String()
}

// hint says what to do next about an error of pgforeman; "" where its message
// says all. The operation is the one that the request was about, if any.
func (f *front) hint(code jobs.Code, operation string) string {
	switch code { //nolint:exhaustive // the others' messages say it
	case jobs.CodeNameTaken:
		return "Choose another name; the names in use: " + f.command("cluster list")
	case jobs.CodeConflict:
		return "Leave --id out, or repeat the request exactly as it was."
	case jobs.CodeUnknownCluster:
		return "See the clusters: " + f.command("cluster list")
	case jobs.CodeUnknownOperation:
		return "See the operations: " + f.command("operation list") + ", and the dead letters: " + f.command("dead list --all")
	case jobs.CodeTooLate, jobs.CodeNotFailed:
		if operation == "" {
			return "See how they stand: " + f.command("operation list")
		}
		return "See how it stands: " + f.command("operation show %s", operation)
	case jobs.CodeClusterBusy, jobs.CodeUnavailable:
		return "Try again in a while; see what runs: " + f.command("operation list --state running")
	default:
		return ""
	}
}

// failure is the error of an operation that did not end as it should.
func (f *front) failure(end jobs.Event) error {
	e := end.Data.Error
	if e == nil {
		e = &jobs.Error{Code: jobs.CodeInternal, Message: end.Data.Message}
	}
	switch client.TypeOf(end) { //nolint:exhaustive // only ends come here
	case jobs.OperationRejected:
		return f.explain(e)
	case jobs.OperationFailedEv:
		text := faultLines(e) + "\nIt waits as a dead letter:\n" + f.deadCommands(end.Data.OperationID)
		return withCode(exitFailed, &explained{text, e})
	default:
		text := faultLines(e) + "\nSee what was done: " + f.command("operation show %s", end.Data.OperationID)
		return withCode(exitFailed, &explained{text, e})
	}
}

// deadCommands are what can be done with a dead letter.
func (f *front) deadCommands(id string) string {
	return aligned([][]string{
		{f.command("dead show %s", id), "what failed, and every attempt"},
		{f.command("dead replay %s", id), "go on once the cause is mended"},
		{f.command("dead discard %s", id), "give up, and remove what it made"},
	})
}

// interrupted is the end of a wait that a person, or a lost connection, ended:
// the operation does not know.
func (f *front) interrupted(err error, id string) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	text := fmt.Sprintf("no longer waiting (%v); the operation goes on. Watch it again: %s", err, f.command("operation watch %s", id))
	return withCode(exitFailed, &explained{text, err})
}
