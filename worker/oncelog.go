package worker

import (
	"sync"

	"github.com/rs/zerolog"
)

// onceLog logs a trouble that lasts once when it begins and once when it ends,
// not at every try between. That the database is away is health's to log.
type onceLog struct {
	log  zerolog.Logger
	what string // "relay"

	mu    sync.Mutex
	tries int
}

func newOnceLog(log zerolog.Logger, what string) *onceLog { return &onceLog{log: log, what: what} }

func (o *onceLog) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if isAway(err) {
		return
	}
	o.tries++
	if o.tries == 1 {
		o.log.Warn().Str("part", o.what).Err(err).Msg("trouble, trying on")
	}
}

func (o *onceLog) works() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tries > 0 {
		o.log.Info().Str("part", o.what).Int("tries", o.tries).Msg("works again")
		o.tries = 0
	}
}
