package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func newEventsCommand(g *globals) *cobra.Command { return eventsCommand(newFront(g)) }

// eventsCommand is "pgforeman events".
func eventsCommand(f *front) *cobra.Command {
	var filter client.EventFilter
	var since time.Duration
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what was told about clusters and operations",
		Long: `Shows events in the order in which they were told: time, percent, type, cluster,
message. With -o json they are a JSON array of CloudEvents; with --follow, which
has no end, one a line.`,
		Example: "  pgforeman events --cluster orders --since 1h\n  pgforeman events --follow -o json | jq -c .data.message",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case filter.Cluster != "" && !jobs.IsName(filter.Cluster):
				return withCode(exitUsage, fmt.Errorf("--cluster %q is not the name of a cluster", filter.Cluster))
			case since < 0:
				return withCode(exitUsage, errors.New("--since is how long ago, such as 1h"))
			case since > 0:
				filter.Since = time.Now().Add(-since)
			}
			return f.with(c, func(ctx context.Context, p portal) error {
				w := f.eventWriter(c.OutOrStdout(), filter.Follow)
				for e, err := range p.Events(ctx, filter) {
					if err != nil && filter.Follow && ctx.Err() != nil {
						break // a person has seen enough
					}
					if err != nil {
						return err
					}
					if err := w.write(e); err != nil {
						return err
					}
				}
				return w.end()
			})
		},
	}
	c.Flags().StringVar(&filter.Cluster, "cluster", "", "those of one cluster")
	c.Flags().DurationVar(&since, "since", 0, "those of the last while, such as 1h (default: all that are kept)")
	c.Flags().BoolVar(&filter.Follow, "follow", false, "go on with what is told from now on")
	return c
}

// eventWriter writes events as they come in.
type eventWriter struct {
	out   io.Writer
	form  eventForm
	count int
}

type eventForm int

const (
	eventLines eventForm = iota // for people
	eventArray                  // one JSON array
	eventJSON                   // one JSON object a line
)

func (f *front) eventWriter(out io.Writer, follow bool) *eventWriter {
	switch {
	case f.json() && follow:
		return &eventWriter{out: out, form: eventJSON}
	case f.json():
		return &eventWriter{out: out, form: eventArray}
	}
	return &eventWriter{out: out, form: eventLines}
}

func (w *eventWriter) write(e jobs.Event) error {
	w.count++
	if w.form == eventLines {
		_, err := fmt.Fprintf(w.out, "%s  %3d%%  %-22s  %-12s  %s\n", e.Time.UTC().Format(time.RFC3339), e.Data.Percent,
			client.TypeOf(e), orDash(clean(e.Data.Cluster)), clean(e.Data.Message))
		return err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write event %s: %w", e.ID, err)
	}
	before, after := "", "\n"
	if w.form == eventArray {
		after = ""
		if before = ",\n"; w.count == 1 {
			before = "[\n"
		}
	}
	_, err = fmt.Fprintf(w.out, "%s%s%s", before, raw, after)
	return err
}

// end closes what was begun.
func (w *eventWriter) end() error {
	text := ""
	switch {
	case w.form == eventArray && w.count == 0:
		text = "[]\n"
	case w.form == eventArray:
		text = "\n]\n"
	}
	_, err := io.WriteString(w.out, text)
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
