package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// mostReason is how much of a reason a list shows, in columns; "dead show" has
// all of it.
const mostReason = 100

func drawDeadLetters(out io.Writer, letters []jobs.DeadLetterView) error {
	t := newTable("ID", "KIND", "CLUSTER", "STATE", "SINCE", "REASON")
	for _, d := range letters {
		t.row(d.ID, string(d.Kind), d.Cluster, d.State, stamp(d.CreatedAt), fit(d.Reason, mostReason))
	}
	return t.write(out, "There is no dead letter: nothing waits for you.")
}

func (f *front) drawDeadLetter(out io.Writer, d jobs.DeadLetter) error {
	w := &strings.Builder{}
	step := ""
	if s := d.Step; s != nil {
		step = fmt.Sprintf("%s (stage %d of %d, attempt %d)", strings.TrimSpace(s.Name+" "+s.Node), s.Stage, s.Stages, s.Attempt)
	}
	seen, code := "", ""
	if d.Observation != nil {
		seen = observed(*d.Observation)
	}
	if d.Error != nil {
		code = string(d.Error.Code)
	}
	fmt.Fprintln(w, fields([][]string{
		{"dead letter", d.ID}, {"state", string(d.State)}, {"since", stamp(d.CreatedAt)}, {"operation", d.OperationID},
		{"request", d.RequestID}, {"kind", string(d.Kind)}, {"cluster", d.Cluster}, {"error", code}, {"step", step}, {"seen last", seen},
	}))
	fmt.Fprintln(w, "\n"+clean(d.Reason))
	if len(d.Attempts) > 0 {
		t := newTable("ATTEMPT", "ENDED", "WORKER", "SEEN", "ERROR")
		for _, a := range d.Attempts {
			t.row(strconv.Itoa(a.Attempt), stamp(a.EndedAt), a.Worker, a.Observation, a.Error)
		}
		fmt.Fprintln(w)
		_ = t.write(w, "") // a strings.Builder takes everything
	}
	fmt.Fprintf(w, "\nThe message on %s:\n%s\n", clean(d.Subject), original(d.Original))
	if d.State == jobs.DeadOpen {
		fmt.Fprintf(w, "\n%s\n", clean(d.Advice))
		if d.OperationID == "" || !strings.Contains(d.Advice, d.OperationID) { // where the advice does not name it
			fmt.Fprintln(w, f.deadChoices(d.ID))
		}
	}
	_, err := io.WriteString(out, w.String())
	return err
}

// deadChoices are what can be done with an open dead letter.
func (f *front) deadChoices(id string) string {
	return aligned([][]string{{f.command("dead replay %s", id)}, {f.command("dead discard %s", id)}})
}

// mostShown bounds how much of a message is shown, in bytes.
const mostShown = 4 << 10

// original is a message for people: its JSON indented, anything else quoted,
// and cut where it is long.
func original(raw []byte) string {
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "  ", "  ") == nil && pretty.Len() <= mostShown {
		lines := strings.Split(pretty.String(), "\n")
		for i, l := range lines {
			lines[i] = clean(l)
		}
		return "  " + strings.Join(lines, "\n")
	}
	rest := ""
	if len(raw) > mostShown {
		rest = fmt.Sprintf("\n  … %s in all; -o json has all of it", bytesOf(int64(len(raw))))
		raw = raw[:mostShown]
	}
	return "  " + strconv.Quote(string(raw)) + rest
}
