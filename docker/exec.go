package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// outputLimit caps what Exec and Logs keep of one stream, in bytes.
const outputLimit = 1 << 20

// ExecResult is how a command in a container ended.
type ExecResult struct {
	ExitCode  int
	Stdout    []byte
	Stderr    []byte
	Truncated bool // a stream was longer than 1 MiB; its beginning was kept
}

// Exec runs a command in a running container, as the container's user, and waits for its end; a nil stdin is none.
// A secret goes through stdin, never into cmd, which `docker inspect` and events show. An exit code other than 0 is
// no error. When the context ends first, the command may run on. ErrNotFound; ErrConflict when it does not run.
//
// An exec costs some 0.3 CPU seconds, so do not poll with it.
func (e *Engine) Exec(ctx context.Context, name string, cmd []string, stdin []byte) (ExecResult, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = limit(ctx, callTimeout)
		defer cancel()
	}
	if len(cmd) == 0 {
		return ExecResult{}, fmt.Errorf("exec in container %q: %w: no command", name, ErrInvalid)
	}
	r, err := e.exec(ctx, name, cmd, stdin)
	if err != nil {
		return r, fmt.Errorf("exec %s in container %q: %w", cmd[0], name, err)
	}
	return r, nil
}

func (e *Engine) exec(ctx context.Context, name string, cmd []string, stdin []byte) (r ExecResult, err error) {
	if err := e.negotiate(ctx); err != nil {
		return r, err
	}
	c, err := e.own(ctx, name)
	if err != nil {
		return r, err
	}
	created, err := e.cli.ContainerExecCreate(ctx, c.ID, container.ExecOptions{
		Cmd: cmd, AttachStdin: stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return r, explain(ctx, err)
	}
	conn, err := e.cli.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return r, explain(ctx, err)
	}
	defer conn.Close()
	// Reads of the hijacked connection know no context.
	defer context.AfterFunc(ctx, conn.Close)()

	if r, err = converse(conn, stdin); err != nil {
		return r, explain(ctx, err)
	}
	// The streams can end a moment before the Engine has the exit code.
	err = retry(ctx, callTimeout, func() error {
		i, err := e.cli.ContainerExecInspect(ctx, created.ID)
		if err != nil {
			return giveUp(explain(ctx, err))
		}
		if i.Running {
			return errors.New("the command still runs")
		}
		r.ExitCode = i.ExitCode
		return nil
	})
	return r, err
}

// converse feeds stdin while it collects the output, or either could block the other.
func converse(conn types.HijackedResponse, stdin []byte) (r ExecResult, err error) {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		// A command need not read its input: an error here shows in its exit code.
		_, _ = conn.Conn.Write(stdin)
		_ = conn.CloseWrite()
	}()
	stdout, stderr := capped{left: outputLimit}, capped{left: outputLimit}
	_, err = stdcopy.StdCopy(&stdout, &stderr, conn.Reader)
	conn.Close()
	<-fed
	r.Stdout, r.Stderr = stdout.buf.Bytes(), stderr.buf.Bytes()
	r.Truncated = stdout.cut || stderr.cut
	return r, err
}

// Logs returns the last lines that a container wrote to its output and error streams, at most 1 MiB.
func (e *Engine) Logs(ctx context.Context, name string, tail int) (string, error) {
	var text string
	err := e.act(ctx, "read logs of", name, callTimeout, func(ctx context.Context, id string) (err error) {
		text, err = e.logs(ctx, id, tail)
		return err
	})
	return text, err
}

func (e *Engine) logs(ctx context.Context, id string, tail int) (string, error) {
	stream, err := e.cli.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(tail),
	})
	if err != nil {
		return "", explain(ctx, err)
	}
	defer stream.Close()
	both := capped{left: outputLimit}
	if _, err := stdcopy.StdCopy(&both, &both, stream); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", explain(ctx, err)
	}
	return both.buf.String(), nil
}

// capped keeps the beginning of what is written to it and swallows the rest.
type capped struct {
	buf  bytes.Buffer
	left int
	cut  bool
}

// Write never fails, so that the writer's other end never blocks.
func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.cut = c.cut || n < len(p)
	c.left -= n
	c.buf.Write(p[:n])
	return len(p), nil
}
