package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// letter is what is known about a message that becomes a dead letter.
type letter struct {
	tenant  string
	kind    jobs.KindName
	request string
	cluster string
	code    jobs.Code
	reason  string
	advice  string
}

// bury makes a message a dead letter: it is kept as it came, and the messages
// behind it go on.
func (in *intake) bury(ctx context.Context, msg jetstream.Msg, l letter) error {
	if l.advice == "" {
		l.advice = "Mend what publishes it, then discard this dead letter (pgforeman dead discard)."
	}
	d := jobs.DeadLetter{
		RequestID: l.request, Tenant: l.tenant, Kind: l.kind, Cluster: l.cluster, State: jobs.DeadOpen,
		Reason: clean(l.reason), Error: &jobs.Error{Code: l.code, Message: clean(l.reason)}, Advice: l.advice,
		Subject: msg.Subject(), Header: msg.Headers(), Original: msg.Data(),
	}
	if meta, err := msg.Metadata(); err == nil {
		d.StreamSeq = meta.Sequence.Stream
	}
	if err := in.w.store.Bury(ctx, d); err != nil {
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	in.w.wakes.committed(false)
	in.w.log.Warn().Str("tenant", l.tenant).Str("kind", string(l.kind)).Str("code", string(l.code)).
		Uint64("stream_seq", d.StreamSeq).Msg("message kept as a dead letter")
	return nil
}

// unknown leaves a message of an unknown kind or version to the other workers:
// in a rolling upgrade one of them may know it. As only the foreman takes in, it
// steps aside. After some deliveries, or at once when it has stepped aside lately
// and nobody has taken over, the message is a dead letter, which can be replayed
// when the workers know its kind.
func (in *intake) unknown(ctx context.Context, msg jetstream.Msg, req jobs.Request, u *jobs.UnknownKind) (verdict, time.Duration, error) {
	if delivered(msg) < intakeTries && in.w.asides.ask() {
		return later, in.w.timing.Unknown, nil
	}
	return ack, 0, in.bury(ctx, msg, letter{
		tenant: req.Tenant, kind: req.Kind, request: req.ID, cluster: req.Cluster,
		code: jobs.CodeUnknownKind, reason: u.Error(),
		advice: "Upgrade the workers and replay it, or discard it.",
	})
}

// giveUp deals with a message that cannot be saved although the database
// answers: a fault of pgforeman. It is tried again, then kept as a dead letter.
func (in *intake) giveUp(ctx context.Context, msg jetstream.Msg, code jobs.Code, cause error) (verdict, time.Duration) {
	in.w.log.Error().Err(cause).Str("subject", msg.Subject()).Msg("request not saved")
	if delivered(msg) < intakeTries {
		return later, in.w.timing.Unknown
	}
	tenant, kind := addressOf(msg.Subject())
	err := within(ctx, in.w.timing.Statement, func(ctx context.Context) error {
		return in.bury(ctx, msg, letter{tenant: tenant, kind: kind, code: code,
			reason: "the request could not be saved: " + cause.Error(),
			advice: "This is a fault of pgforeman: please report it. Replay the dead letter after an upgrade, or discard it."})
	})
	if err != nil {
		in.w.log.Error().Err(err).Msg("dead letter not saved")
		return later, in.w.timing.Unknown
	}
	return ack, 0
}

// delivered is how often a message was delivered, this time included.
func delivered(msg jetstream.Msg) uint64 {
	meta, err := msg.Metadata()
	if err != nil {
		return intakeTries
	}
	return meta.NumDelivered
}

// addressOf reads tenant and kind from a request's subject, as far as they are
// there.
func addressOf(subject string) (tenant string, kind jobs.KindName) {
	tokens := strings.SplitN(subject, ".", 5)
	if len(tokens) < 5 {
		return "_", "_"
	}
	return tokens[3], jobs.KindName(tokens[4])
}

// revive takes in the message of a dead letter that never became an operation, if
// it can be read by now: it is admitted, or rejected, like any other. It happens
// before the replay itself is kept, which closes the dead letter; a worker that
// dies in between does it again, and finds the request there. A dead letter of an
// operation is left to the operation's rule.
func (in *intake) revive(ctx context.Context, req jobs.Request, id string) error {
	d, err := in.w.store.DeadLetter(ctx, req.Tenant, id)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil // Admit says so
	}
	if err != nil {
		return err
	}
	if d.OperationID != "" || d.State != jobs.DeadOpen {
		return nil
	}
	again, err := in.read(d.Subject, d.Header, d.Original)
	var unreadable *jobs.Unreadable
	var unknown *jobs.UnknownKind
	code, advice := jobs.CodeUnreadable, "discard it, and let its sender publish it again"
	switch {
	case errors.As(err, &unknown):
		code, advice = jobs.CodeUnknownKind, "upgrade the workers and replay it then, or discard it"
	case errors.As(err, &unreadable):
	default:
		return in.take(ctx, again, err)
	}
	return &jobs.Error{Code: code, Message: fmt.Sprintf(
		"the message of dead letter %s still cannot be taken in: %v; %s", d.ID, err, advice)}
}
