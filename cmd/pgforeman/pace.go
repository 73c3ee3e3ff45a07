package main

import (
	"errors"
	"time"

	"github.com/caarlos0/env/v11"
)

// paceSettings say how long a worker waits and keeps.
type paceSettings struct {
	Retention  time.Duration `env:"PGFOREMAN_RETENTION" envDefault:"2160h"`
	StallLimit time.Duration `env:"PGFOREMAN_STALL_LIMIT"`
}

// paceHelp explains the settings.
const paceHelp = `
Time, such as 90s or 720h:
  PGFOREMAN_STALL_LIMIT        how long a step may go on without progress before it is
                               ended and tried again (each step's own, 1m to 5m)
  PGFOREMAN_RETENTION          how long finished operations, rejections and settled
                               dead letters are kept; 0 keeps them (2160h)
`

// readPace reads the settings and tells every fault at once.
func readPace() (paceSettings, error) {
	var s paceSettings
	err := settingsError(env.Parse(&s))
	if s.Retention < 0 {
		err = errors.Join(err, errors.New("settings: PGFOREMAN_RETENTION: a time to keep things cannot be negative"))
	}
	if s.StallLimit < 0 {
		err = errors.Join(err, errors.New("settings: PGFOREMAN_STALL_LIMIT: a limit cannot be negative"))
	}
	return s, withCode(exitUsage, err)
}
