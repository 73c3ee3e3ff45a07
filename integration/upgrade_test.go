package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// The next release, as a test imagines it: one kind and one step more, and a
// migration that touches every table which workers write.
const (
	nextKind = `package main

import (
	"context"
	"encoding/json"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func nextKinds() []jobs.Kind {
	return []jobs.Kind{{
		Name: "cluster.bless", Target: jobs.ExistingCluster, Title: "bless a cluster",
		Decode: func(jobs.Request) (json.RawMessage, error) { return json.RawMessage("{}"), nil },
		Plan: func(jobs.PlanInput) (jobs.Plan, error) {
			bless := []jobs.Step{{Name: "cluster.bless"}}
			return jobs.Plan{{Title: "Bless it", Steps: bless}}, nil
		},
	}}
}

func nextSteps() []jobs.StepType {
	return []jobs.StepType{{Name: "cluster.bless", Title: "bless it",
		Run: func(context.Context, *jobs.Attempt) (jobs.Result, error) { return jobs.Result{Output: "blessed"}, nil },
	}}
}
`
	nextMigration = `-- +goose Up
ALTER TABLE clusters ADD COLUMN blessed boolean NOT NULL DEFAULT false;
ALTER TABLE operations ADD COLUMN priority integer NOT NULL DEFAULT 0;
ALTER TABLE steps ADD COLUMN cost bigint NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN headers json;
ALTER TABLE dead_letters ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN zone text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN origin text NOT NULL DEFAULT '';
ALTER TABLE duties ADD COLUMN since timestamptz NOT NULL DEFAULT now();
CREATE INDEX operations_priority ON operations (priority, arrival) WHERE state = 'queued';
`
)

// buildNext builds the next release.
var buildNext = sync.OnceValues(func() (string, error) {
	files := overlay{}
	for path, content := range map[string]string{
		"../cmd/pgforeman/next.go": nextKind, "../store/migrations/09000_next.sql": nextMigration,
	} {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		files[absolute] = content
	}
	program, err := filepath.Abs("../cmd/pgforeman/program.go")
	if err != nil {
		return "", err
	}
	files[program], err = replaceOnce(program, "Kinds: catalogue.Kinds(), Steps: catalogue.Steps(), Store:",
		"Kinds: append(catalogue.Kinds(), nextKinds()...), Steps: append(catalogue.Steps(), nextSteps()...), Store:")
	if err != nil {
		return "", err
	}
	return files.build("next")
})

// TestARollingUpgrade goes from this release to the next while the work goes on:
// the schema is migrated in the middle of a creation; old and new workers stand
// side by side and the old one leaves what it does not know; then the old one is
// told to stop in the middle of a step and hands it over.
func TestARollingUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	t.Parallel()
	next, err := buildNext()
	require.NoError(t, err)
	s := newSite(t)
	old := s.worker("old", "PGFOREMAN_GRACE=100ms")
	po := openPortal(t, s.program, "acme")

	// The migration, while the old one works.
	cluster := s.creating(po, "up", "old", 10)
	s.migrate(next)
	require.NotEqual(t, string(jobs.OperationSucceeded), s.state("create-"+cluster), "the migration came too late to be tried")
	po.await("create-"+cluster, 3*time.Minute, jobs.OperationSucceededEv)

	// A kind that the old one, which is the foreman, does not know.
	newer := s.newWorker("new", "PGFOREMAN_CONCURRENCY=2")
	newer.bin = next
	newer.start()
	newer.awaitReady(2 * time.Minute)
	po.publish("bless", "cluster.bless", cluster, map[string]any{})
	po.await("bless", time.Minute, jobs.OperationSucceededEv)
	require.Equal(t, "0", s.text("SELECT count(*) FROM dead_letters"))
	require.Equal(t, "new", s.text("SELECT split_part(owner, '-', 1) FROM steps WHERE name = 'cluster.bless'"))
	s.deleted(po, cluster)

	// An old one can start again on the new schema, and hands over when it stops.
	s.drained(po, old)
	again := s.worker("again", "PGFOREMAN_GRACE=100ms")
	s.drained(po, again)
	require.Equal(t, "0", s.text("SELECT count(*) FROM operations WHERE state <> 'succeeded'"))
	require.Equal(t, "0", s.text("SELECT count(*) FROM steps WHERE failures > 0"))
	for _, w := range []*workerProcess{old, again, newer} {
		for _, bad := range []string{`"level":"error"`, "lease lost", "left behind", "not saved", "runs out by itself"} {
			require.NotContains(t, w.log(), bad, w.name)
		}
	}
}

// migrate runs a release's "pgforeman migrate".
func (s *site) migrate(bin string) {
	s.t.Helper()
	before := s.text("SELECT max(version_id) FROM goose_db_version")
	cmd := exec.Command(bin, "migrate")
	cmd.Env = append(os.Environ(), "PGFOREMAN_DATABASE_URL="+s.db.DSN)
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	require.NotEqual(s.t, before, s.text("SELECT max(version_id) FROM goose_db_version"), "%s", out)
}

// drained stops a worker while it holds a step of a creation, and measures by the
// database's clock how long the step waited for its next run. A lease that runs
// out would take six seconds.
func (s *site) drained(po *portal, w *workerProcess) {
	s.t.Helper()
	cluster := s.creating(po, "drain-"+w.name, w.name, 0)
	stopped := s.seconds("clock_timestamp()")
	w.signal(syscall.SIGTERM)
	require.Zero(s.t, w.awaitExit(time.Minute), "exit code of %s", w.name)
	ended := s.seconds("clock_timestamp()")
	require.Equal(s.t, "0", s.text("SELECT count(*) FROM steps WHERE state = 'running' AND owner LIKE '"+w.name+"-%'"),
		"it left steps behind")
	eventuallySoon(s.t, time.Minute, "what was handed over to run elsewhere", func() error {
		if n := s.text("SELECT count(*) FROM steps WHERE state = 'ready' AND ready_at < now() AND attempt > 0"); n != "0" {
			return fmt.Errorf("%s steps wait", n)
		}
		return nil
	})
	elsewhere := s.seconds("clock_timestamp()")
	s.t.Logf("%s ended %.1f s after SIGTERM and handed %d steps over, which ran at most %.1f s after it",
		w.name, ended-stopped, strings.Count(w.log(), "step handed over"), elsewhere-stopped)
	require.Less(s.t, elsewhere-ended, 3.0, "nobody waits for a lease to run out")
	po.await("create-"+cluster, 5*time.Minute, jobs.OperationSucceededEv)
	po.checkOrder("create-" + cluster)
	s.deleted(po, cluster)
}
