package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

func (d *dialer) replication(ctx context.Context, s site, k keys, leader string) ([]postgres.Standby, error) {
	return ofPostgres(ctx, d, s, k, leader, (*postgres.DB).Replication)
}

func (d *dialer) receiver(ctx context.Context, s site, k keys, node string) (postgres.WALReceiver, error) {
	return ofPostgres(ctx, d, s, k, node, (*postgres.DB).WALReceiver)
}

func (d *dialer) basebackups(ctx context.Context, s site, k keys, leader string) ([]postgres.Basebackup, error) {
	return ofPostgres(ctx, d, s, k, leader, (*postgres.DB).Basebackups)
}

// databases has no bound of its own: CREATE DATABASE takes as long as it takes,
// and the step has its timeout.
func (d *dialer) databases(ctx context.Context, s site, k keys, leader string) error {
	db, name, err := d.node(ctx, s, k, leader)
	if err != nil {
		return err
	}
	for _, user := range s.users() {
		err := d.change("postgres role "+user, func() error { return db.EnsureRole(ctx, user, string(k[passwordOf(user)])) })
		if err != nil {
			d.drop(name)
			return err
		}
	}
	for _, database := range s.databases() {
		err := d.change("postgres database "+database.Name, func() error { return db.EnsureDatabase(ctx, database.Name, database.Owner) })
		if err != nil {
			d.drop(name)
			return err
		}
	}
	return nil
}

// node gives the connection to one node's PostgreSQL, and its name for drop.
func (d *dialer) node(ctx context.Context, s site, k keys, node string) (*postgres.DB, string, error) {
	name := k.connections(s) + " postgres " + node
	db, err := connection(d, name, func() (*postgres.DB, func(), error) {
		at, err := d.address(ctx, s, node, postgresPort)
		if err != nil {
			return nil, nil, err
		}
		db, err := s.open(k, at, node)
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
	})
	return db, name, err
}

// open logs the worker in where serverName answers.
func (s site) open(k keys, address, serverName string) (*postgres.DB, error) {
	conf, err := s.tls(k, serverName)
	if err != nil {
		return nil, err
	}
	return postgres.Open(
		postgres.Endpoint{Address: address, ServerName: serverName, TLS: conf},
		postgres.Login{User: superuser, Password: string(k[superuserPass])},
	)
}

// ofPostgres asks one node's PostgreSQL.
func ofPostgres[T any](
	ctx context.Context, d *dialer, s site, k keys, node string, ask func(*postgres.DB, context.Context) (T, error),
) (out T, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	db, name, err := d.node(ctx, s, k, node)
	if err != nil {
		return out, err
	}
	out, err = ask(db, ctx)
	if err != nil {
		d.drop(name)
	}
	return out, err
}

// Through a published port the worker is a client like any other: every question
// takes a new connection, for the proxy chooses at connecting.

func (d *dialer) answerer(ctx context.Context, s site, k keys, port int) (who answer, err error) {
	err = through(ctx, s, k, port, func(ctx context.Context, db *postgres.DB) error {
		who, err = identify(ctx, db)
		return err
	})
	return who, err
}

func (d *dialer) write(ctx context.Context, s site, k keys, port int, token string) error {
	return d.change("postgres probe", func() error {
		return through(ctx, s, k, port, func(ctx context.Context, db *postgres.DB) error {
			return db.WriteProbe(ctx, token)
		})
	})
}

func (d *dialer) read(ctx context.Context, s site, k keys, port int, token string) (who answer, arrived bool, err error) {
	err = through(ctx, s, k, port, func(ctx context.Context, db *postgres.DB) error {
		if who, err = identify(ctx, db); err != nil {
			return err
		}
		arrived, err = db.ReadProbe(ctx, token)
		return err
	})
	return who, arrived, err
}

func through(ctx context.Context, s site, k keys, port int, ask func(context.Context, *postgres.DB) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	db, err := s.open(k, s.published(port), nodesAlias)
	if err != nil {
		return err
	}
	defer db.Close()
	return ask(ctx, db)
}

var errNoSlot = errors.New("the replica has no replication slot yet")

// identify says who is at the other end. Patroni gives each replica a slot of
// its own, named after the node.
func identify(ctx context.Context, db *postgres.DB) (answer, error) {
	replica, err := db.InRecovery(ctx)
	if err != nil || !replica {
		return answer{}, err
	}
	slot, err := db.Setting(ctx, "primary_slot_name")
	if err != nil {
		return answer{}, fmt.Errorf("identify the replica: %w", err)
	}
	if slot == "" {
		return answer{}, errNoSlot
	}
	return answer{slot: slot, replica: true}, nil
}
