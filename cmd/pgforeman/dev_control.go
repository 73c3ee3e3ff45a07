package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/docker"
)

func newDevStopCommand(o *devOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop a running dev; its clusters keep running",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			stopped, err := stopDev(c.Context(), o.stateDir)
			if err != nil {
				return err
			}
			text := "stopped; clusters keep running, and \"pgforeman dev\" goes on where it was"
			if !stopped {
				text = "was not running"
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), "pgforeman dev "+text)
			return err
		},
	}
}

func newDevDownCommand(o *devOptions) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop dev and remove all it made: clusters with their data, state, volumes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := filepath.Abs(o.stateDir)
			if err != nil {
				return fmt.Errorf("find the state folder: %w", err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "instance"))
			if errors.Is(err, os.ErrNotExist) {
				_, err = fmt.Fprintf(c.OutOrStdout(), "nothing to remove: %s is no state folder of pgforeman dev\n", dir)
				return err
			}
			if err != nil {
				return fmt.Errorf("read the state folder: %w", err)
			}
			instance := strings.TrimSpace(string(raw))
			if err := confirm(c, yes, "remove everything of instance "+instance+", all its clusters with their data included"); err != nil {
				return err
			}
			if _, err := stopDev(c.Context(), dir); err != nil {
				return err
			}
			return removeDev(c.Context(), dir, instance, c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func newDevStatusCommand(o *devOptions, g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell whether dev runs, and whether it is ready",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, running, err := findDev(o.stateDir)
			if err != nil {
				return err
			}
			ready := running && isReady(c.Context(), r.HTTPAddr)
			if g.json() {
				return json.NewEncoder(c.OutOrStdout()).Encode(struct {
					devRunning
					Running bool `json:"running"`
					Ready   bool `json:"ready"`
				}{r, running, ready})
			}
			text := "not running; start it with: pgforeman dev"
			switch {
			case ready:
				text = fmt.Sprintf("ready: process %d, NATS nats://%s, HTTP http://%s", r.PID, r.NATSAddr, r.HTTPAddr)
			case running:
				text = fmt.Sprintf("running, not ready: process %d, see http://%s/readyz", r.PID, r.HTTPAddr)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), "pgforeman dev is "+text)
			return err
		},
	}
}

// findDev tells whether a dev holds the folder, and where it is.
func findDev(dir string) (r devRunning, running bool, err error) {
	f, err := lockFile(filepath.Join(dir, "lock"))
	if err == nil {
		_ = f.Close()
		return r, false, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	if !errors.Is(err, errRunning) {
		return r, false, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "running.json"))
	if errors.Is(err, os.ErrNotExist) {
		return r, true, nil // just starting
	}
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err != nil {
		return r, true, fmt.Errorf("read the state folder: %w", err)
	}
	return r, true, nil
}

// stopDev asks a running dev to end, and waits for it.
func stopDev(ctx context.Context, dir string) (stopped bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	asked := 0
	for {
		r, running, err := findDev(dir)
		if err != nil || !running {
			return stopped, err
		}
		stopped = true
		if r.PID != 0 && r.PID != asked {
			if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return stopped, fmt.Errorf("stop process %d: %w", r.PID, err)
			}
			asked = r.PID
		}
		select {
		case <-ctx.Done():
			return stopped, fmt.Errorf("process %d does not end after 90 s; end it by hand: kill -9 %d", r.PID, r.PID)
		case <-tick.C:
		}
	}
}

// removeDev removes everything of the instance from the Engine, then the folder.
func removeDev(ctx context.Context, dir, instance string, out io.Writer) error {
	engine, err := docker.Open(docker.Options{Instance: instance, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }()
	inventory, err := engine.Inventory(ctx, nil)
	if err == nil {
		err = engine.Remove(ctx, inventory)
	}
	if err != nil {
		return fmt.Errorf("remove what instance %s made: %w\nrun it again; the state folder is still there", instance, err)
	}
	for _, name := range []string{
		"nats", "running.json", "database-password", "database-port", "key", "dev.log", "lock", "instance",
	} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove the state folder: %w", err)
		}
	}
	_ = os.Remove(dir) // only when nothing else is in it
	_, err = fmt.Fprintf(out, "removed: everything of instance %s\n", instance)
	return err
}

// devDetach starts dev in the background and waits until it is ready.
func devDetach(ctx context.Context, o *devOptions, out io.Writer) error {
	if r, running, err := findDev(o.stateDir); err != nil {
		return err
	} else if running {
		_, err := fmt.Fprintf(out, "pgforeman dev is running: process %d, NATS nats://%s\n", r.PID, r.NATSAddr)
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	logFile := filepath.Join(o.stateDir, "dev.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(self, "dev", "--state-dir", o.stateDir, "--nats-addr", o.natsAddr, "--http-addr", o.httpAddr, "--log-level", o.logLevel)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pgforeman dev: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !isReady(ctx, o.httpAddr) {
		select {
		case err := <-ended:
			return fmt.Errorf("pgforeman dev ended before it was ready (%v); see %s", err, logFile) //nolint:errorlint // nil when it ended with 0
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	_, err = fmt.Fprintf(out, "pgforeman dev runs in the background: process %d, NATS nats://%s, log %s\n", cmd.Process.Pid, o.natsAddr, logFile)
	return err
}

// isReady asks /readyz.
func isReady(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
