package cluster

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// facts is all that is looked at when everything has ended.
type facts struct {
	log        []change
	operations map[string]operationRow // by id
	rejections map[string]int          // tenant/request/hash → 1
	letters    []letterRow
	requests   []*jetstream.RawStreamMsg
	events     []*jetstream.RawStreamMsg
	dead       []*jetstream.RawStreamMsg
	outbox     map[string]bool // what the keeper told while the workers were stopped
	columns    string          // all text that people can read in the state database
}

type operationRow struct {
	id, tenant, request, hash, kind, cluster, clusterID, state string
	seq                                                        int64
}

type letterRow struct {
	id, operation, state string
	seq                  int64
}

// verify checks all invariants.
func (s *sim) verify() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	f, err := s.gather(ctx)
	if err != nil {
		s.t.Errorf("seed %d: look at the end: %v", s.seed, err)
		return
	}
	h := s.replay(f.log)
	s.verifyFates(f)
	s.verifyEvents(f)
	s.verifyDead(f, h)
	s.verifyMessages(f)
	s.verifySecrets(f)
	if err := s.verifyWorld(ctx); err != nil {
		s.t.Errorf("seed %d: look at the world: %v", s.seed, err)
	}
	s.check(invWorkersUp, 1)
	if missing := s.plan.unlisted(); len(missing) > 0 {
		s.t.Errorf("calls without a point of failure in points(): %v", missing)
	}
}

func (s *sim) gather(ctx context.Context) (f facts, err error) {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	f.log, err = s.changes(ctx)
	note(err)
	f.requests, err = s.stream(ctx, jobs.StreamRequests)
	note(err)
	f.events, err = s.stream(ctx, jobs.StreamEvents)
	note(err)
	f.dead, err = s.stream(ctx, jobs.StreamDead)
	note(err)
	note(s.gatherOutbox(ctx, &f))
	note(s.gatherOperations(ctx, &f))
	note(s.gatherRejections(ctx, &f))
	note(s.gatherLetters(ctx, &f))
	note(s.watch.QueryRow(ctx, `SELECT coalesce((SELECT string_agg(concat(output, observation, error, history), ' ') FROM steps), '')
		|| coalesce((SELECT string_agg(concat(spec, error), ' ') FROM operations), '') || coalesce((SELECT string_agg(letter::text, ' ') FROM dead_letters), '')
		|| coalesce((SELECT string_agg(error::text, ' ') FROM rejections), '') || coalesce((SELECT string_agg(detail, ' ') FROM audit), '')`).Scan(&f.columns))
	return f, errors.Join(errs...)
}

// stream reads all of a stream, in order.
func (s *sim) stream(ctx context.Context, name string) ([]*jetstream.RawStreamMsg, error) {
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	last := stream.CachedInfo().State.LastSeq
	list := make([]*jetstream.RawStreamMsg, 0, last)
	for seq := uint64(1); seq <= last; seq++ {
		msg, err := stream.GetMsg(ctx, seq)
		if err != nil {
			return nil, err
		}
		list = append(list, msg)
	}
	return list, nil
}

func (s *sim) gatherOperations(ctx context.Context, f *facts) error {
	rows, err := s.watch.Query(ctx, `SELECT id::text, tenant, request_id, request_hash, kind, cluster, coalesce(cluster_id::text, ''), state, seq FROM operations`)
	if err != nil {
		return err
	}
	defer rows.Close()
	f.operations = map[string]operationRow{}
	for rows.Next() {
		var o operationRow
		if err := rows.Scan(&o.id, &o.tenant, &o.request, &o.hash, &o.kind, &o.cluster, &o.clusterID, &o.state, &o.seq); err != nil {
			return err
		}
		f.operations[o.id] = o
	}
	return rows.Err()
}

func (s *sim) gatherOutbox(ctx context.Context, f *facts) error {
	rows, err := s.watch.Query(ctx, `SELECT msg_id FROM outbox`)
	if err != nil {
		return err
	}
	defer rows.Close()
	f.outbox = map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		f.outbox[id] = true
	}
	return rows.Err()
}

func (s *sim) gatherRejections(ctx context.Context, f *facts) error {
	rows, err := s.watch.Query(ctx, `SELECT tenant || '/' || request_id || '/' || request_hash FROM rejections`)
	if err != nil {
		return err
	}
	defer rows.Close()
	f.rejections = map[string]int{}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		f.rejections[key]++
	}
	return rows.Err()
}

func (s *sim) gatherLetters(ctx context.Context, f *facts) error {
	rows, err := s.watch.Query(ctx, `SELECT id::text, coalesce(operation_id::text, ''), state, coalesce(stream_seq, 0) FROM dead_letters`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d letterRow
		if err := rows.Scan(&d.id, &d.operation, &d.state, &d.seq); err != nil {
			return err
		}
		f.letters = append(f.letters, d)
	}
	return rows.Err()
}

// verifySecrets looks for every secret in all that people and portals can read.
func (s *sim) verifySecrets(f facts) {
	var open strings.Builder
	open.WriteString(f.columns)
	for _, list := range [][]*jetstream.RawStreamMsg{f.events, f.dead} {
		for _, m := range list {
			open.Write(m.Data)
		}
	}
	text := open.String()
	for value, name := range s.secrets {
		if strings.HasSuffix(name, ".pem") {
			continue // certificates are public
		}
		s.check(invSecrets, 1)
		if lines := strings.Split(strings.TrimSpace(value), "\n"); len(lines) > 2 {
			value = lines[1] // of a key in PEM
		}
		if strings.Contains(text, value) {
			s.violate(invSecrets, "the secret %s is out", name)
		}
	}
}

// verifyWorld compares the host and what is kept of clusters with the clusters'
// records.
func (s *sim) verifyWorld(ctx context.Context) error {
	c, err := New(Deps{Engine: judged{s.host, s}, State: s.db.Store, Log: zerolog.Nop(), probe: s.parts})
	if err != nil {
		return err
	}
	// The reaper's last round: a worker that slept may just have woken up.
	if err := c.reap(ctx, map[string]bool{}); err != nil {
		return err
	}
	rows, err := s.watch.Query(ctx, `SELECT id::text FROM clusters`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		if err := s.verifyCluster(ctx, id); err != nil {
			return err
		}
	}
	return rows.Err()
}
