package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal tells whether a person sees what is written to f.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// confirm asks before something is destroyed; elsewhere than on a terminal
// --yes has to say it.
func confirm(c *cobra.Command, yes bool, what string) error {
	if yes {
		return nil
	}
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !isTerminal(in) {
		return withCode(exitUsage, fmt.Errorf("this would %s; say --yes", what))
	}
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "This will %s. Go on? [y/N] ", what)
	line, err := answer(c.Context(), in)
	if err != nil {
		_, _ = fmt.Fprintln(c.ErrOrStderr())
		return withCode(exitUsage, errors.New("no answer; nothing was done"))
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return withCode(exitFailed, errors.New("nothing was done"))
	}
	return nil
}

// answer reads a line, or ends with ctx: Ctrl-C needs no Enter. The reading itself
// cannot be interrupted and ends with the process.
func answer(ctx context.Context, in io.Reader) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		done <- read{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
