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

// relay publishes the outbox. A row leaves the outbox only after JetStream's
// PubAck; the event's id is the Nats-Msg-Id, so a message published twice is
// stored once. Order holds within a cluster: of one cluster at most one message
// is under way at any time, because a connection that breaks between two could
// otherwise store the second alone and the first after it.
type relay struct {
	w   *Worker
	log *onceLog
}

// relayBatch is how many messages are read from the outbox at a time.
const relayBatch = 256

func (r *relay) run(ctx context.Context) error {
	wait := newBackOff(100*time.Millisecond, 5*time.Second)
	for ctx.Err() == nil {
		n, err := r.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.log.failed(err)
			r.mendStreams(ctx, err)
			pause(ctx, wait.NextBackOff())
		case n == 0:
			r.log.works()
			wait.Reset()
			r.w.wakes.relay.wait(ctx, r.w.timing.RelayPoll)
		default:
			r.log.works()
			wait.Reset()
		}
	}
	return nil
}

// mendStreams makes the streams anew when one of them is gone: somebody has
// deleted it. What it held is lost, what is still in the outbox is not.
func (r *relay) mendStreams(ctx context.Context, err error) {
	if !errors.Is(err, jetstream.ErrNoStreamResponse) {
		return
	}
	err = r.w.streams(ctx)
	if err != nil && ctx.Err() == nil {
		r.log.failed(err)
	}
}

// pass publishes one batch; it returns how many messages it found.
func (r *relay) pass(ctx context.Context) (int, error) {
	var batch []jobs.Outgoing
	err := within(ctx, r.w.timing.Statement, func(ctx context.Context) (err error) {
		batch, err = r.w.store.Outbox(ctx, relayBatch)
		return err
	})
	r.w.health.database(err)
	if err != nil || len(batch) == 0 {
		return 0, err
	}
	for _, wave := range waves(batch) {
		if err := r.publish(ctx, wave); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}

// publish publishes a wave, waits for every ack, and notes what was stored.
func (r *relay) publish(ctx context.Context, wave []jobs.Outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, r.w.timing.Ack)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, len(wave))
	var failure error
	for i, m := range wave {
		msg := &nats.Msg{Subject: m.Subject, Data: fitting(m, r.w.opt.NATS.MaxPayload())}
		ack, err := r.w.js.PublishMsgAsync(msg, jetstream.WithMsgID(m.MsgID), jetstream.WithRetryAttempts(0))
		if err != nil {
			failure = err
			break
		}
		acks[i] = ack
	}
	stored := make([]int64, 0, len(wave))
	for i, m := range wave {
		err := r.stored(ctx, acks[i], m)
		if err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		if acks[i] != nil {
			stored = append(stored, m.ID)
		}
	}
	return errors.Join(failure, r.published(ctx, stored))
}

// stored waits for one ack; nil was never sent.
func (r *relay) stored(ctx context.Context, ack jetstream.PubAckFuture, m jobs.Outgoing) error {
	if ack == nil {
		return nil
	}
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	case <-ctx.Done():
		return fmt.Errorf("publish to %s: no answer from JetStream: %w", m.Subject, ctx.Err())
	}
}

func (r *relay) published(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	err := within(context.WithoutCancel(ctx), r.w.timing.Statement, func(ctx context.Context) error {
		return r.w.store.Published(ctx, ids)
	})
	r.w.health.database(err)
	return err
}

// waves cuts a batch into waves of which each has at most one message of a
// cluster, in order.
func waves(batch []jobs.Outgoing) [][]jobs.Outgoing {
	var cut [][]jobs.Outgoing
	next := map[string]int{} // the wave that a lane's next message goes into
	for _, m := range batch {
		lane := laneOf(m.Subject)
		i := next[lane]
		if i == len(cut) {
			cut = append(cut, nil)
		}
		cut[i] = append(cut[i], m)
		next[lane] = i + 1
	}
	return cut
}

// laneOf is what keeps its order: the subject up to the cluster,
// pgforeman.v1.event.<tenant>.<cluster>.
func laneOf(subject string) string {
	tokens := strings.SplitN(subject, ".", 6)
	return strings.Join(tokens[:min(5, len(tokens))], ".")
}
