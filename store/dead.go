package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// maxLetter is the largest dead letter published with its original inside, in
// bytes: NATS takes 1 MiB by default, headers included.
const maxLetter = 1000 << 10

// Bury records an unreadable message as a dead letter and publishes it; doing
// it again for the same message (StreamSeq and content) changes nothing. The
// store gives the id and the time.
func (s *Store) Bury(ctx context.Context, d jobs.DeadLetter) error {
	return s.transact(ctx, "bury a message", func(ctx context.Context, q *dbsqlc.Queries) error {
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		d.CreatedAt, d.ID = now, ""
		m, err := insertLetter(ctx, q, d)
		if err != nil || m == nil {
			return err
		}
		return writeMessages(ctx, q, []message{*m})
	})
}

// writeLetters settles the unit's open dead letter and writes its new one.
func (s *Store) writeLetters(ctx context.Context, q *dbsqlc.Queries, u *unit) ([]message, error) {
	id := u.after.operation.ID
	if u.settle != "" {
		p := dbsqlc.DeadLetterSettleOfParams{State: string(u.settle), OperationID: &id}
		if err := q.DeadLetterSettleOf(ctx, p); err != nil {
			return nil, fmt.Errorf("settle the dead letter of operation %s: %w", id, err)
		}
	}
	var messages []message
	for _, d := range u.letters {
		request, err := q.RequestGet(ctx, id)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("read the request of operation %s: %w", id, err)
		}
		d.Subject, d.Original, d.CreatedAt = request.Subject, request.Body, u.now
		if err := decode(request.Header, &d.Header); err != nil {
			return nil, fmt.Errorf("read the request of operation %s: %w", id, err)
		}
		m, err := insertLetter(ctx, q, d)
		if err != nil {
			return nil, err
		}
		messages = append(messages, *m)
	}
	return messages, nil
}

// insertLetter writes a dead letter and gives its message; nil when the message
// it is about was buried before.
func insertLetter(ctx context.Context, q *dbsqlc.Queries, d jobs.DeadLetter) (*message, error) {
	d.State = jobs.DeadOpen
	if d.ID == "" {
		var err error
		if d.ID, err = newID(); err != nil {
			return nil, err
		}
	}
	body, err := letterBody(d)
	if err != nil {
		return nil, err
	}
	bare := d
	bare.Original = nil
	letter, err := json.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("write a dead letter: %w", err)
	}
	p := dbsqlc.DeadLetterInsertParams{
		ID: d.ID, Tenant: clean(d.Tenant), Letter: letter, Original: d.Original, CreatedAt: d.CreatedAt,
	}
	if p.Original == nil {
		p.Original = []byte{}
	}
	if d.OperationID != "" {
		p.OperationID = &d.OperationID
	}
	if d.StreamSeq != 0 {
		seq := int64(d.StreamSeq)
		p.StreamSeq = &seq
	}
	n, err := q.DeadLetterInsert(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("write a dead letter: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	subject := jobs.DeadSubject(token(d.Tenant), kindToken(d.Kind))
	return &message{id: d.ID, subject: subject, body: body}, nil
}

// letterBody is the letter as it is published. An original that would not fit
// into a message stays in the database.
func letterBody(d jobs.DeadLetter) ([]byte, error) {
	body, err := json.Marshal(d)
	if err == nil && len(body) > maxLetter {
		d.Advice += fmt.Sprintf(" The original of %d bytes is too large to be published with this letter;"+
			" the state database has it (dead letter %s).", len(d.Original), d.ID)
		d.Original, d.Header = nil, nil
		body, err = json.Marshal(d)
	}
	if err != nil {
		return nil, fmt.Errorf("write a dead letter: %w", err)
	}
	return body, nil
}

// letterOf reads a dead letter's row.
func letterOf(letter []byte, state string, original []byte) (jobs.DeadLetter, error) {
	var d jobs.DeadLetter
	if err := decode(letter, &d); err != nil {
		return d, fmt.Errorf("read a dead letter: %w", err)
	}
	d.State, d.Original = jobs.DeadLetterState(state), original
	return d, nil
}

// DeadLetters lists a tenant's dead letters, the newest first, without their
// originals; the settled ones too when all is set.
func (s *Store) DeadLetters(ctx context.Context, tenant string, all bool, limit int) ([]jobs.DeadLetter, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.DeadLetterListParams{Tenant: clean(tenant), Settled: all, Max: bounded(limit)}
	rows, err := s.q.DeadLetterList(ctx, p)
	if err != nil {
		return nil, translate("list dead letters", err)
	}
	list := make([]jobs.DeadLetter, len(rows))
	for i, r := range rows {
		if list[i], err = letterOf(r.Letter, r.State, nil); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// DeadLetter gives one dead letter of a tenant; jobs.ErrNotFound when there is
// none of that id.
func (s *Store) DeadLetter(ctx context.Context, tenant, id string) (jobs.DeadLetter, error) {
	if !isID(id) {
		return jobs.DeadLetter{}, jobs.ErrNotFound
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	r, err := s.q.DeadLetterGet(ctx, dbsqlc.DeadLetterGetParams{ID: id, Tenant: clean(tenant)})
	if err != nil {
		return jobs.DeadLetter{}, translate("read dead letter "+id, err)
	}
	return letterOf(r.Letter, r.State, r.Original)
}
