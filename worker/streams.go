package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// How long messages stay in their streams, for people and portals to look at. The
// state database is the truth: an open dead letter waits there for however long.
const (
	requestsMaxAge = 7 * 24 * time.Hour
	eventsMaxAge   = 30 * 24 * time.Hour
	deadMaxAge     = 365 * 24 * time.Hour
)

// StreamError says how a stream that exists differs from what pgforeman needs.
type StreamError struct {
	Stream string
	Diffs  []string
}

// Error names every difference and what to do.
func (e *StreamError) Error() string {
	return fmt.Sprintf("stream %s cannot be used: %s; change it, or remove it so that it is made anew",
		e.Stream, strings.Join(e.Diffs, "; "))
}

// Streams are the streams of the contract as they are created. replicas below 1
// means 1. What a person may change afterwards: replicas, ages, limits,
// placement.
func Streams(replicas int) []jetstream.StreamConfig {
	base := strings.Join([]string{jobs.Prefix, jobs.Version}, ".")
	stream := func(name, subject, about string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Description: about, Subjects: []string{base + "." + subject + ".>"},
			Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
			Replicas: max(replicas, 1), Duplicates: 2 * time.Minute, AllowDirect: true,
		}
	}
	requests := stream(jobs.StreamRequests, "request", "requests to pgforeman")
	requests.MaxAge = requestsMaxAge
	events := stream(jobs.StreamEvents, "event", "what pgforeman tells")
	events.Duplicates = 15 * time.Minute
	events.MaxAge = eventsMaxAge
	dead := stream(jobs.StreamDead, "dead", "dead letters of pgforeman")
	dead.MaxAge = deadMaxAge
	return []jetstream.StreamConfig{requests, events, dead}
}

// EnsureStreams creates the streams that are missing and compares the others
// with what is needed; it changes nothing that exists. An unfit one is a
// *StreamError.
func EnsureStreams(ctx context.Context, js jetstream.JetStream, replicas int) error {
	return ensureStreams(ctx, js, replicas, func(string) {})
}

// ensureStreams is EnsureStreams; made is told of each stream that it creates.
func ensureStreams(ctx context.Context, js jetstream.JetStream, replicas int, made func(stream string)) error {
	var unfit []error
	for _, want := range Streams(replicas) {
		info, created, err := ensureStream(ctx, js, want)
		if err != nil {
			return fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		if created {
			made(want.Name)
		}
		if diffs := compareStream(want, info.Config); len(diffs) > 0 {
			unfit = append(unfit, &StreamError{Stream: want.Name, Diffs: diffs})
		}
	}
	return errors.Join(unfit...)
}

// streams makes sure, within the time of one call, that the worker's streams are
// there; it logs which were not.
func (w *Worker) streams(ctx context.Context) error {
	return within(ctx, w.timing.Ack, func(ctx context.Context) error {
		return ensureStreams(ctx, w.js, w.opt.Replicas, func(stream string) {
			w.log.Info().Str("stream", stream).Msg("stream was not there, made")
		})
	})
}

func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (info *jetstream.StreamInfo, created bool, err error) {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, want)
		created = err == nil
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another worker was quicker
			stream, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, false, err
	}
	return stream.CachedInfo(), created, nil
}

// compareStream says in which points that matter a stream differs.
func compareStream(want, is jetstream.StreamConfig) (diffs []string) {
	differ := func(what string, want, is any) {
		diffs = append(diffs, fmt.Sprintf("%s is %v and must be %v", what, is, want))
	}
	for _, subject := range want.Subjects {
		if !slices.Contains(is.Subjects, subject) {
			differ("subjects", want.Subjects, is.Subjects)
		}
	}
	if is.Retention != want.Retention {
		differ("retention", want.Retention, is.Retention)
	}
	if is.Storage != want.Storage {
		differ("storage", want.Storage, is.Storage)
	}
	if is.Duplicates < want.Duplicates {
		differ("duplicate window", "at least "+want.Duplicates.String(), is.Duplicates)
	}
	if is.MaxMsgsPerSubject > 0 {
		differ("messages per subject", "unlimited", is.MaxMsgsPerSubject)
	}
	if is.NoAck {
		differ("no-ack", false, true)
	}
	return diffs
}
