package cluster

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
)

// outage is something that all workers lose.
func (s *sim) outage(rng *rand.Rand, theme fault) func(*rand.Rand) {
	all := []func(*rand.Rand){s.databaseAway, s.cutConnections, s.restartNATS, s.dockerIsAway}
	if theme == faultDB {
		all = all[:3]
	}
	return one(rng, all)
}

func (s *sim) databaseAway(rng *rand.Rand) {
	s.log("database away")
	s.dbAway.Store(true)
	time.AfterFunc(time.Duration(200+rng.IntN(900))*time.Millisecond, func() {
		s.dbAway.Store(false)
		s.struck(faultDB, "database")
	})
}

func (s *sim) dockerIsAway(rng *rand.Rand) {
	s.log("docker away")
	s.dockerAway.Store(true)
	time.AfterFunc(time.Duration(200+rng.IntN(900))*time.Millisecond, func() {
		s.dockerAway.Store(false)
		s.struck(faultDocker, "docker")
	})
}

// cutConnections ends every connection that the workers have to the database,
// whatever they are doing on it: a commit may have happened without an answer.
func (s *sim) cutConnections(*rand.Rand) {
	s.log("database connections cut")
	s.struck(faultCut, "database")
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> $1`, observer)
}

func (s *sim) restartNATS(rng *rand.Rand) {
	s.log("NATS restarted")
	s.server.Stop()
	s.pass(time.Duration(rng.IntN(300)) * time.Millisecond)
	s.server.Restart()
	s.struck(faultNATS, "nats")
}

// drain stops a worker as SIGTERM does, and starts another: a rolling upgrade.
func (s *sim) drain(rng *rand.Rand) {
	w := one(rng, s.living())
	s.log("%s drained", w.name)
	s.struck(faultDrain, "")
	w.stop()
	if err := s.spawn(); err != nil {
		s.violate(invWorkersUp, "%v", err)
	}
}

// crash ends a container of some cluster. It comes back by itself, as its restart
// policy wants; one of a ready cluster may stay down, as if a person had killed
// it, until the keeper starts it.
func (s *sim) crash(rng *rand.Rand) {
	box := s.host.any(rng.IntN(1000))
	if box.Name == "" {
		return
	}
	var ready bool
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.watch.QueryRow(ctx, `SELECT count(*) > 0 FROM clusters WHERE id = $1 AND state = 'ready'`, box.Labels[docker.LabelClusterID]).Scan(&ready)
	back := time.Duration(50+rng.IntN(1200)) * time.Millisecond
	if err == nil && ready && rng.IntN(2) == 0 {
		back = 0
	}
	s.struck(faultCrash, "container "+box.Name)
	s.log("%s crashed, back after %s", box.Name, back)
	s.host.crash(box.Name, back)
}

// overdue lets the deadline of an operation pass.
func (s *sim) overdue() {
	s.struck(faultLate, "")
	s.exec(`UPDATE operations SET deadline = now() WHERE id = (SELECT id FROM operations WHERE state = 'running' LIMIT 1)`)
}

// jump sets a worker's clock by an hour, forward or back, while it works.
func (s *sim) jump(rng *rand.Rand) {
	w := one(rng, s.living())
	by := one(rng, []time.Duration{time.Hour, -time.Hour})
	off := time.Duration(w.jumped.Add(int64(by)))
	s.log("%s: its clock jumps by %s and is wrong by %s now", w.name, by, off)
	s.struck(faultClock, "clock "+w.name)
}

// living are the workers that have neither died nor been told to stop; each
// that has is replaced.
func (s *sim) living() (list []*simWorker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.workers {
		if w.told.Err() == nil && !w.gate.isDead() {
			list = append(list, w)
		}
	}
	if list == nil { // all have died in this moment
		return slices.Clone(s.workers)
	}
	return list
}

func (s *sim) exec(sql string, args ...any) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.watch.Exec(ctx, sql, args...); err != nil {
		s.t.Errorf("%s: %v", sql, err)
	}
}
