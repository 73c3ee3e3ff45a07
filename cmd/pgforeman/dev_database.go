package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/store"
)

// stateDatabaseScript makes the database cluster where there is none, whole or
// not at all, and becomes PostgreSQL. It takes nothing from outside.
const stateDatabaseScript = `set -eu
umask 077
if [ ! -s /data/state/PG_VERSION ]; then
  rm -rf /data/state.new
  initdb -D /data/state.new -U postgres --pwfile=/opt/secretpg/password --auth-local=peer --auth-host=scram-sha-256 --data-checksums --locale=C.UTF-8 --encoding=UTF8 >/dev/null
  echo 'host all all all scram-sha-256' >> /data/state.new/pg_hba.conf
  mv /data/state.new /data/state
fi
exec postgres -D /data/state -c 'listen_addresses=*' -c unix_socket_directories=/run/postgresql -c max_connections=60 -c shared_buffers=64MB -c log_statement=none`

// startStateDatabase runs the state database of a dev as a container of the
// image that nodes are made of, brings its schema up to date and gives its
// connection string. The port is the same at every start, so that a database
// that the Engine starts again is found again.
func startStateDatabase(ctx context.Context, engine *docker.Engine, s *devState) (string, error) {
	name := "pgforeman-" + s.Instance + "-state"
	if _, err := engine.EnsureNetwork(ctx, docker.NetworkSpec{Name: name}); err != nil {
		return "", err
	}
	for _, volume := range []string{name + "-data", name + "-secret"} {
		if _, err := engine.EnsureVolume(ctx, docker.VolumeSpec{Name: volume}); err != nil {
			return "", err
		}
	}
	_, err := engine.EnsureContainer(ctx, stateContainer(name, s))
	if errors.Is(err, docker.ErrPortTaken) {
		if err = s.forgetPort(); err == nil {
			_, err = engine.EnsureContainer(ctx, stateContainer(name, s))
		}
	}
	if err != nil {
		return "", fmt.Errorf("start the state database: %w", err)
	}
	dsn := devDSN(s.Password, strconv.Itoa(s.Port))
	if err := awaitDatabase(ctx, dsn); err != nil {
		log, _ := engine.Logs(ctx, name, 20)
		return "", fmt.Errorf("%w\nits last words:\n%s", err, log)
	}
	if _, err := store.Migrate(ctx, dsn); err != nil {
		return "", err
	}
	return dsn, nil
}

func stateContainer(name string, s *devState) docker.ContainerSpec {
	return docker.ContainerSpec{
		Name: name, Image: docker.PatroniImage.Tag(), Hostname: "state", Network: name,
		Entrypoint: []string{"/usr/bin/tini", "--", "/bin/sh", "-c", stateDatabaseScript},
		Health:     []string{"CMD", "pg_isready", "-q", "-h", "/run/postgresql", "-U", "postgres"},
		Mounts: []docker.VolumeMount{
			{Volume: name + "-data", Target: "/data"},
			{Volume: name + "-secret", Target: "/opt/secretpg"},
		},
		Tmpfs: map[string]string{
			"/tmp": "size=16m,uid=999,gid=999,mode=0700", "/run/postgresql": "size=1m,uid=999,gid=999,mode=0755",
		},
		Files: []docker.File{{
			Path: "/opt/secretpg/password", Mode: 0o400, UID: 999, GID: 999, Data: []byte(s.Password + "\n"),
		}},
		Ports:       []docker.PortBinding{{ContainerPort: 5432, HostPort: s.Port}},
		MemoryBytes: 512 << 20, PidsLimit: 200, CPUShares: 1024, ShmBytes: 128 << 20,
		StopTimeout: 30 * time.Second, RestartPolicy: docker.RestartUnlessStopped,
	}
}

// awaitDatabase waits until the database takes connections.
func awaitDatabase(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the state database does not answer: %w", err)
		case <-tick.C:
		}
	}
}
