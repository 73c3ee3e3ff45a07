package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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
// steps aside. After some deliveries the message is a dead letter, which can be
// replayed when the workers know its kind.
func (in *intake) unknown(ctx context.Context, msg jetstream.Msg, req jobs.Request, u *jobs.UnknownKind) (verdict, time.Duration, error) {
	if delivered(msg) < unknownTries {
		in.w.aside.raise()
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
	if delivered(msg) < unknownTries {
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
		return unknownTries
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

// revive publishes the message of a dead letter that never became an operation
// anew, if it can be read by now; then it is admitted, or rejected, like any
// other. A dead letter of an operation is left to the operation's rule.
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
	if err := in.readable(d); err != nil {
		return err
	}
	msg := &nats.Msg{Subject: d.Subject, Data: d.Original, Header: nats.Header{}}
	for name, values := range d.Header {
		if !strings.HasPrefix(name, "Nats-") {
			msg.Header[name] = values
		}
	}
	if _, err := in.w.js.PublishMsg(ctx, msg, jetstream.WithMsgID("replay."+req.Tenant+"."+req.ID)); err != nil {
		return fmt.Errorf("publish the message of dead letter %s anew: %w: %w", id, errJetStreamAway, err)
	}
	return nil
}

// readable tells whether a buried message would be taken in now.
func (in *intake) readable(d jobs.DeadLetter) error {
	again, err := jobs.ParseRequest(d.Subject, d.Header, d.Original)
	var faults jobs.Faults
	_, known := in.w.rules.kinds[again.Kind]
	switch {
	case errors.As(err, &faults), err == nil && known:
		return nil
	case err == nil:
		err = &jobs.UnknownKind{Kind: again.Kind, Version: jobs.Version}
	}
	code := jobs.CodeUnreadable
	var unknown *jobs.UnknownKind
	if errors.As(err, &unknown) {
		code = jobs.CodeUnknownKind
	}
	return &jobs.Error{Code: code, Message: fmt.Sprintf(
		"the message of dead letter %s still cannot be taken in: %v; discard it, and let its sender publish it again", d.ID, err)}
}
