package worker

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Dependency is how something that the worker needs answered last.
type Dependency struct {
	Name string `json:"name"` // "database", "nats", or a probe's
	OK   bool   `json:"ok"`
	// Error is the last error while not OK.
	Error string `json:"error,omitempty"`
	// Since is when OK last changed.
	Since time.Time `json:"since"`
}

// Names of the dependencies.
const (
	dependencyDatabase = "database"
	dependencyNATS     = "nats"
)

// health remembers how the dependencies answered; it logs a change once.
type health struct {
	log zerolog.Logger
	now func() time.Time

	mu   sync.Mutex
	deps map[string]Dependency
	seen map[string]bool // what has been asked at all

	answered time.Time // when the database answered last
}

// slowAnswer is longer than most calls of the store may take: a call that ends
// without an answer began at most so long before.
const slowAnswer = 3 * time.Second

// newHealth makes a health that knows of some dependencies from the start: they
// are not OK until they have answered.
func newHealth(log zerolog.Logger, names ...string) *health {
	h := &health{log: log, now: time.Now, deps: map[string]Dependency{}, seen: map[string]bool{}}
	for _, name := range names {
		h.deps[name] = Dependency{Name: name, Error: "not asked yet", Since: h.now()}
	}
	return h
}

// database notes how a call of the store ended. A refusal is an answer too; the
// end of the caller's own context says nothing.
func (h *health) database(err error) {
	switch {
	case errors.Is(err, context.DeadlineExceeded) && h.answeredSince(slowAnswer):
		// It waited while another call was answered: on a connection that has
		// died, or one of many on a busy machine.
	case isAway(err):
		h.saw(dependencyDatabase, err)
	case errors.Is(err, context.Canceled):
	default:
		h.mu.Lock()
		h.answered = h.now()
		h.mu.Unlock()
		h.saw(dependencyDatabase, nil)
	}
}

// answeredSince tells whether the database answered in the last d.
func (h *health) answeredSince(d time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.answered.IsZero() && h.now().Sub(h.answered) < d
}

// isAway tells whether err says that the database cannot be reached now.
func isAway(err error) bool {
	return errors.Is(err, jobs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// nats notes whether the connection is up.
func (h *health) nats(nc *nats.Conn) {
	if nc.IsConnected() {
		h.saw(dependencyNATS, nil)
		return
	}
	err := nc.LastError()
	if err == nil {
		err = errors.New("not connected: " + nc.Status().String())
	}
	h.saw(dependencyNATS, err)
}

func (h *health) saw(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, known := h.deps[name], h.seen[name]
	h.seen[name] = true
	d := Dependency{Name: name, OK: err == nil, Since: old.Since}
	if err != nil {
		d.Error = err.Error()
	}
	changed := !known || old.OK != d.OK
	if changed {
		d.Since = h.now()
	}
	h.deps[name] = d
	switch {
	case changed && !d.OK:
		h.log.Error().Str("dependency", name).Err(err).Msg("dependency lost")
	case changed && known:
		h.log.Info().Str("dependency", name).Dur("after", d.Since.Sub(old.Since)).Msg("dependency back")
	}
}

// list gives the dependencies, ordered by name.
func (h *health) list() []Dependency {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]Dependency, 0, len(h.deps))
	for _, d := range h.deps {
		list = append(list, d)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
