package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/docker" //nolint:depguard // a test's server runs from our image; nothing else knows its tag
	"github.com/vcs-iaas/pgforeman/store"
)

// shared is the process's one server; tests of a package run in one process, and
// a server for each would take longer than they do.
var shared servers

type servers struct {
	mu  sync.Mutex
	one *server
	err error
}

func (s *servers) get(ctx context.Context) (*server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.one == nil && s.err == nil {
		s.one, s.err = start(ctx)
	}
	return s.one, s.err
}

func (s *servers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.one != nil {
		s.one.stop()
	}
	s.one, s.err = nil, nil
}

// server is a running PostgreSQL.
type server struct {
	url       *url.URL
	prefix    string // of the databases' names
	template  string
	databases atomic.Int64
	stop      func()
}

func start(ctx context.Context) (*server, error) {
	s := &server{prefix: strings.ToLower(rand.Text()[:8]), stop: func() {}}
	s.template = "template_" + s.prefix
	var err error
	if given := os.Getenv("PGFOREMAN_TEST_DATABASE_URL"); given != "" {
		if s.url, err = url.Parse(given); err != nil {
			return nil, errors.New("PGFOREMAN_TEST_DATABASE_URL is not a URL")
		}
	} else if err = s.run(ctx); err != nil {
		return nil, err
	}
	if err = s.exec(ctx, "CREATE DATABASE "+s.template); err == nil {
		_, err = store.Migrate(ctx, s.dsn(s.template))
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("prepare the template database: %w", err)
	}
	stop := s.stop
	s.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.exec(ctx, "DROP DATABASE IF EXISTS "+s.template) // a container takes it along anyway
		stop()
	}
	return s, nil
}

// script runs in the container: the password comes as the first line of its
// input, and the end of the input is the end of the server.
const script = `set -eu
IFS= read -r password
umask 077
printf '%s\n' "$password" >/pg/password
initdb -D /pg/data -U postgres --auth=scram-sha-256 --pwfile=/pg/password --no-sync --no-instructions -E UTF8 --locale=C >/dev/null
echo 'host all all all scram-sha-256' >>/pg/data/pg_hba.conf
postgres -D /pg/data -c listen_addresses='*' -c unix_socket_directories=/pg -c max_connections=300 \
  -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum_naptime=5s &
cat >/dev/null
kill -INT $!
wait $!`

// run starts the server's container and waits until it answers.
func (s *server) run(ctx context.Context) error {
	name, password := "pgforeman-storetest-"+s.prefix, rand.Text()
	cmd := exec.Command("docker", "run", "--rm", "--interactive", "--name", name,
		"--label", docker.LabelInstance+"=storetest-"+s.prefix,
		"--publish", "127.0.0.1::5432", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
		"--tmpfs", "/pg:uid=999,gid=999,mode=0700,size=6g", "--shm-size", "256m",
		"--entrypoint", "/bin/sh", docker.PatroniImage.Tag(), "-c", script)
	var said lockedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	input, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run docker: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // what it said is what tells
	s.stop = func() { end(input, ended, cmd, name) }
	if _, err := io.WriteString(input, password+"\n"); err != nil {
		s.stop()
		return fmt.Errorf("start the container: %w: %s", err, said.String())
	}
	err = wait(ctx, ended, func() error {
		address, err := exec.CommandContext(ctx, "docker", "port", name, "5432/tcp").Output()
		if err != nil {
			return fmt.Errorf("docker port: %w", err)
		}
		first, _, _ := strings.Cut(string(address), "\n")
		s.url = &url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: first, Path: "/postgres"}
		return s.exec(ctx, "SELECT 1")
	})
	if err != nil {
		s.stop()
		return fmt.Errorf("%w; the container says: %s (`pgforeman image build` makes the image)", err, said.String())
	}
	return nil
}

// end closes the container's input, gives it time to end by itself, and sees to
// it that it is gone.
func end(input io.Closer, ended <-chan struct{}, cmd *exec.Cmd, name string) {
	_ = input.Close() // it may have ended already
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = exec.Command("docker", "rm", "--force", "--volumes", name).Run() // nothing is left to try
		_ = cmd.Process.Kill()
	}
}

// wait asks until there is no error; it gives up when the container ends.
func wait(ctx context.Context, ended <-chan struct{}, ask func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: last seen: %w", ctx.Err(), err)
		case <-ended:
			return errors.New("the container ended")
		case <-tick.C:
		}
	}
}

func (s *server) dsn(database string) string {
	u := *s.url
	u.Path = "/" + database
	return u.String()
}

// exec runs SQL in the server's own database.
func (s *server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.url.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing depends on it
	_, err = conn.Exec(ctx, sql)
	return err
}

// lockedBuffer takes what the container says while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.b.String())
}
