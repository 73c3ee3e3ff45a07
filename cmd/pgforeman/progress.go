package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// display shows the progress of one operation. Its methods may be called from
// several goroutines; close may be called twice.
type display interface {
	event(e jobs.Event)
	note(text string)
	close()
}

// display is the one that suits standard error: redrawn in place on a terminal,
// lines elsewhere. Standard output is left to results.
func (f *front) display(c *cobra.Command, p portal) display {
	out := c.ErrOrStderr()
	if file, ok := out.(*os.File); ok && isTerminal(file) && os.Getenv("TERM") != "dumb" {
		return newLive(file, os.Getenv("NO_COLOR") == "", func(operation string) []string {
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
			defer cancel()
			var view jobs.OperationView
			if p.Query(ctx, jobs.QueryOperationGet, jobs.Query{ID: operation}, &view) != nil {
				return nil // numbers will do
			}
			return view.Stages
		})
	}
	return &plain{out: out}
}

// plain shows progress as lines, one an event: time, percent, message.
type plain struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *plain) event(e jobs.Event) {
	p.line(fmt.Sprintf("%s  %3d%%  %s", e.Time.UTC().Format(time.RFC3339), e.Data.Percent, clean(e.Data.Message)))
}

func (p *plain) note(text string) { p.line(text) }

func (p *plain) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.out, text) // progress is told, not kept
}

func (p *plain) close() {}

// quiet shows nothing but notes: for control requests, of which their targets
// tell more.
type quiet struct{ plain }

func (q *quiet) event(jobs.Event) {}
