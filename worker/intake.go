package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// intake pulls requests, one at a time and in their order: commit, then ack.
// A message that is not settled when its worker dies is delivered again, and
// found to be a duplicate if it had been committed. JetStream gives out no other
// one until it is settled: a cancel must not overtake its creation because that
// was given to a worker which has just died.
type intake struct {
	w   *Worker
	log *onceLog
}

const (
	// intakeAckWait is how long a dead worker's messages wait for the next.
	intakeAckWait = 5 * time.Second
	// intakeTries deliveries of a message that this worker does not know, or
	// cannot save, leave other workers the chance to take it; then it is a
	// dead letter. The others wait behind it meanwhile.
	intakeTries = 3
)

// verdict is what becomes of a message.
type verdict int

const (
	ack   verdict = iota + 1 // its rows are committed
	later                    // nothing was committed: deliver it again after a while
)

func (in *intake) run(ctx context.Context) error {
	consumer, err := in.consumer(ctx)
	if err != nil {
		return err
	}
	in.log.works()
	for ctx.Err() == nil {
		if err := in.fetch(ctx, consumer); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// consumer makes sure that streams and consumer are there.
func (in *intake) consumer(ctx context.Context) (jetstream.Consumer, error) {
	if err := in.w.streams(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, in.w.timing.Ack)
	defer cancel()
	c, err := in.w.js.CreateOrUpdateConsumer(ctx, jobs.StreamRequests, jetstream.ConsumerConfig{
		Durable: jobs.ConsumerIntake, Description: "takes requests into the state database",
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: intakeAckWait,
		MaxAckPending: 1, MaxDeliver: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("create consumer %s: %w", jobs.ConsumerIntake, err)
	}
	return c, nil
}

// fetch pulls one message and handles it: the pull of a worker that vanished,
// which JetStream keeps for a while, can take one message with it and no more.
func (in *intake) fetch(ctx context.Context, consumer jetstream.Consumer) error {
	pull, cancel := context.WithTimeout(ctx, in.w.timing.Pull)
	defer cancel()
	batch, err := consumer.Fetch(1, jetstream.FetchContext(pull), jetstream.FetchHeartbeat(in.w.timing.Pull/4))
	if err != nil {
		return fmt.Errorf("pull requests: %w", err)
	}
	for msg := range batch.Messages() {
		if ctx.Err() != nil {
			in.settle(ctx, msg, later, 0)
			continue
		}
		v, delay := in.hold(ctx, msg)
		in.settle(ctx, msg, v, delay)
	}
	err = batch.Error()
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("pull requests: %w", err)
}

// hold handles a message, again and again while the database is away: nothing
// is acked and no other message overtakes it.
func (in *intake) hold(ctx context.Context, msg jetstream.Msg) (verdict, time.Duration) {
	wait := newBackOff(100*time.Millisecond, time.Second)
	for {
		v, delay, err := in.handle(ctx, msg)
		in.w.health.database(err)
		switch {
		case err == nil:
			in.log.works()
			return v, delay
		case ctx.Err() != nil:
			return later, 0
		case isAway(err):
			in.log.failed(err)
			if err := msg.InProgress(); err != nil {
				in.w.log.Debug().Err(err).Msg("message not held")
			}
			pause(ctx, wait.NextBackOff())
		default:
			return in.giveUp(ctx, msg, jobs.CodeInternal, err)
		}
	}
}

// settle acks a message or hands it back.
func (in *intake) settle(ctx context.Context, msg jetstream.Msg, v verdict, delay time.Duration) {
	var err error
	switch v {
	case ack:
		err = msg.Ack()
	case later:
		err = msg.NakWithDelay(max(delay, time.Millisecond))
	}
	if err != nil && ctx.Err() == nil {
		in.w.log.Debug().Err(err).Msg("message not settled, it comes again")
	}
}

// handle carries one message into the store. An error means that nothing was
// committed; a panic in a kind's functions is one too.
func (in *intake) handle(ctx context.Context, msg jetstream.Msg) (v verdict, delay time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault of pgforeman while reading the request: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, in.w.timing.Statement)
	defer cancel()
	req, err := in.read(msg.Subject(), msg.Headers(), msg.Data())
	var unreadable *jobs.Unreadable
	var unknown *jobs.UnknownKind
	switch {
	case errors.As(err, &unreadable):
		return ack, 0, in.bury(ctx, msg, letter{tenant: unreadable.Tenant, kind: unreadable.Kind,
			code: jobs.CodeUnreadable, reason: "the message cannot be read: " + unreadable.Reason})
	case errors.As(err, &unknown):
		return in.unknown(ctx, msg, req, unknown)
	}
	return ack, 0, in.take(ctx, req, err)
}

// read reads a message. A kind that this worker does not have is a
// *jobs.UnknownKind, like one that nobody could have.
func (in *intake) read(subject string, header nats.Header, body []byte) (jobs.Request, error) {
	req, err := jobs.ParseRequest(subject, header, body)
	if _, known := in.w.rules.kinds[req.Kind]; err == nil && !known {
		err = &jobs.UnknownKind{Kind: req.Kind, Version: jobs.Version}
	}
	return req, err
}

// take carries a request of a known kind into the store: as an operation, or,
// with faults (err, of read), as a rejection.
func (in *intake) take(ctx context.Context, req jobs.Request, err error) error {
	kind := in.w.rules.kinds[req.Kind]
	if err != nil {
		return in.refuse(ctx, req, withFaultsOfData(err, req, kind))
	}
	return in.admit(ctx, req, kind)
}

// admit decodes the request and admits it, or rejects it.
func (in *intake) admit(ctx context.Context, req jobs.Request, kind jobs.Kind) error {
	spec, err := kind.Decode(req)
	if err != nil {
		return in.refuse(ctx, req, jobs.ErrorOf(err, jobs.CodeInvalid))
	}
	a := Admission{
		Request: req, Target: kind.Target, Spec: spec,
		Plan: in.w.planOf(kind), Weight: in.w.weight, OperationTimeout: policyOf(spec).timeout(),
	}
	var turned string // the operation whose attempts are no longer wanted
	if kind.Target == jobs.AnotherOperation {
		if err := in.control(ctx, &a, &turned); err != nil {
			return in.refuse(ctx, req, err)
		}
	}
	admitted, err := in.w.store.Admit(ctx, a)
	if err != nil {
		return in.refuse(ctx, req, err)
	}
	if !admitted.Duplicate {
		in.w.wakes.committed(true)
		in.w.leases.stopRuns(turned)
		in.w.log.Info().Str("tenant", req.Tenant).Str("request", req.ID).Str("kind", string(req.Kind)).
			Str("cluster", req.Cluster).Str("operation", admitted.Operation.ID).Msg("request accepted")
	}
	return nil
}

// control adds to an admission what it does to its target.
func (in *intake) control(ctx context.Context, a *Admission, turned *string) error {
	var spec jobs.ControlSpec
	if err := json.Unmarshal(a.Spec, &spec); err != nil {
		return fmt.Errorf("read the control request: %w", err)
	}
	if a.Request.Kind == jobs.OperationReplay && spec.DeadLetterID != "" {
		// What it is about is looked at first: the same request again, or its id
		// with other content, does nothing.
		known, err := in.w.store.Seen(ctx, a.Request)
		if err == nil && !known {
			err = in.revive(ctx, a.Request, spec.DeadLetterID)
		}
		if err != nil {
			return err
		}
	}
	rule := in.w.rules.control(a.Request.Kind, spec)
	a.TargetOperation, a.TargetDeadLetter = spec.OperationID, spec.DeadLetterID
	a.Control = func(s *jobs.Snapshot) error {
		if err := rule(s); err != nil {
			return err
		}
		if op := s.Operation; op != nil && op.State == jobs.OperationUndoing {
			*turned = op.ID
		}
		return nil
	}
	return nil
}

// refuse rejects a request that the store, or a rule, refused; other errors
// pass.
func (in *intake) refuse(ctx context.Context, req jobs.Request, err error) error {
	var refusal *jobs.Error
	var faults jobs.Faults
	if errors.As(err, &refusal) || errors.As(err, &faults) {
		in.w.log.Info().Str("tenant", req.Tenant).Str("request", req.ID).Str("kind", string(req.Kind)).
			Err(err).Msg("request rejected")
		if err := in.w.store.Reject(ctx, req, rejection(err)); err != nil {
			return err
		}
		in.w.wakes.committed(false)
		return nil
	}
	return err
}

// withFaultsOfData adds to the faults of a request's attributes those of its
// data, so that a portal is told everything at once.
func withFaultsOfData(err error, req jobs.Request, kind jobs.Kind) error {
	var faults, more jobs.Faults
	if kind.Decode == nil || !errors.As(err, &faults) {
		return err
	}
	if _, errData := kind.Decode(req); errors.As(errData, &more) {
		for _, f := range more {
			if !slices.Contains(faults, f) {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

// rejection is why a request is refused, as the contract tells it: for good. The
// same request sent again is known by its id; only one under a new id is another.
func rejection(err error) *jobs.Error {
	e := *jobs.ErrorOf(err, jobs.CodeInvalid)
	e.Retryable = false
	return &e
}
