package docker

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/docker/docker/api/types/events"
)

// EventType says what happened to a container.
type EventType string

// The event types. EventResync is about no container: the connection to the Engine is new, so whatever happened
// before may have been missed and the watcher has to look at everything once.
const (
	EventResync  EventType = "resync"
	EventStart   EventType = "start"
	EventDie     EventType = "die"
	EventOOM     EventType = "oom"
	EventHealth  EventType = "health"
	EventPause   EventType = "pause"
	EventUnpause EventType = "unpause"
	EventDestroy EventType = "destroy"
)

// Event is a change of a container.
type Event struct {
	Type      EventType
	Host      Host
	Container string // its name
	ID        string
	Labels    Labels // those of pgforeman
	Time      time.Time
	ExitCode  int    // of EventDie
	Health    Health // of EventHealth
}

// Watch sends the changes of this instance's containers that carry the labels, until the context ends; then the
// channel is closed. A lost connection is made again, with backoff, and every connection begins with an EventResync.
// An event is a hint to look, not a record: read swiftly, the Engine drops what is not read.
func (e *Engine) Watch(ctx context.Context, labels Labels) <-chan Event {
	out := make(chan Event, 64)
	go func() {
		defer close(out)
		pauses := backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(100*time.Millisecond),
			backoff.WithMaxInterval(10*time.Second),
			backoff.WithMaxElapsedTime(0),
		)
		lost := false // an outage is logged once, not at every try
		_ = backoff.RetryNotify(func() error {
			return e.stream(ctx, labels, out, func() {
				pauses.Reset()
				if lost {
					e.log.Info().Msg("docker event stream back")
				}
				lost = false
			})
		}, backoff.WithContext(pauses, ctx), func(err error, pause time.Duration) {
			if !lost {
				e.log.Warn().Err(err).Msg("docker event stream lost, trying on")
			}
			lost = true
			e.log.Debug().Err(err).Dur("pause", pause).Msg("docker event stream tried again")
		})
	}()
	return out
}

// startupMoment is how long a stream has to be there to count as connected.
const startupMoment = 50 * time.Millisecond

// stream passes the events of one connection on; it always ends with an error.
func (e *Engine) stream(ctx context.Context, labels Labels, out chan<- Event, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := e.negotiate(ctx); err != nil {
		return err
	}
	f := e.mine(labels)
	f.Add("type", string(events.ContainerEventType))
	for _, a := range []events.Action{
		events.ActionStart, events.ActionDie, events.ActionOOM, events.ActionHealthStatus,
		events.ActionPause, events.ActionUnPause, events.ActionDestroy,
	} {
		f.Add("event", string(a))
	}
	// The Engine answers the request a moment before it listens to itself: "since" closes the gap.
	now := time.Now()
	messages, failed := e.cli.Events(ctx, events.ListOptions{
		Filters: f, Since: fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond()),
	})
	// The SDK says that the stream has started a moment before it says that it has not.
	select {
	case err := <-failed:
		return explain(ctx, err)
	case <-time.After(startupMoment):
	}
	connected()
	resync := Event{Type: EventResync, Host: e.host, Time: now}
	for next := resync; ; {
		select {
		case out <- next:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case m := <-messages:
			next = e.event(m)
		case err := <-failed:
			return explain(ctx, err)
		}
	}
}

func (e *Engine) event(m events.Message) Event {
	ev := Event{
		Type: EventType(m.Action), Host: e.host, Container: m.Actor.Attributes["name"], ID: m.Actor.ID,
		Labels: Labels{}, Time: time.Unix(0, m.TimeNano),
	}
	for k, v := range m.Actor.Attributes { // the labels are mixed with the Engine's own attributes
		if strings.HasPrefix(k, labelPrefix) {
			ev.Labels[k] = v
		}
	}
	switch {
	case m.Action == events.ActionDie:
		// Absent or unreadable counts as 0, like a container that ended in order.
		ev.ExitCode, _ = strconv.Atoi(m.Actor.Attributes["exitCode"])
	case strings.HasPrefix(string(m.Action), string(events.ActionHealthStatus)):
		ev.Type = EventHealth
		_, health, _ := strings.Cut(string(m.Action), ": ")
		ev.Health = Health(health)
	}
	return ev
}
