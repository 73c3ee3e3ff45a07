package worker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// probed is a probe that runs in a bubble of synctest: hours pass at once.
type probed struct {
	*Probe
	h     *health
	log   *strings.Builder
	asked atomic.Int64
	gone  atomic.Bool // ask answers with an error
	hangs atomic.Bool // ask does not answer
}

func runProbe(t *testing.T) *probed {
	p := &probed{log: &strings.Builder{}}
	p.h = newHealth(logTo(p.log), "docker")
	p.Probe = NewProbe("docker", func(ctx context.Context) error {
		p.asked.Add(1)
		if p.hangs.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
		if p.gone.Load() {
			return errors.New("refused")
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx, p.h, defaultTiming()) }()
	t.Cleanup(func() { stop(); <-done })
	synctest.Wait()
	return p
}

func (p *probed) ok() bool { return p.h.list()[0].OK }

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestADependencyIsNotOKBeforeItWasAsked(t *testing.T) {
	h := newHealth(logTo(&strings.Builder{}), "docker")
	require.False(t, h.list()[0].OK)
	require.NotEmpty(t, h.list()[0].Error)
}

func TestProbeSaysOnceThatSomethingIsAwayAndOnceThatItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := runProbe(t)
		require.True(t, p.ok(), "asked at once")
		require.Empty(t, p.log.String(), "nothing was lost")
		p.gone.Store(true)
		p.Unanswered()
		synctest.Wait()
		require.False(t, p.ok(), "a call without an answer makes the probe ask at once")
		for range 1000 {
			p.Unanswered()
		}
		after(time.Minute)
		require.LessOrEqual(t, p.asked.Load(), int64(65), "once a second while it is away")
		require.Contains(t, p.h.list()[0].Error, "refused")
		p.gone.Store(false)
		after(time.Second)
		require.True(t, p.ok())
		require.Equal(t, 1, strings.Count(p.log.String(), "dependency lost"), p.log)
		require.Equal(t, 1, strings.Count(p.log.String(), "dependency back"), p.log)
	})
}

func TestProbeNoticesWithinTenSecondsThatNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := runProbe(t)
		p.hangs.Store(true)
		after(10 * time.Second)
		require.False(t, p.ok())
		require.Contains(t, p.h.list()[0].Error, "no answer within 5s")
		p.hangs.Store(false)
		p.Answered() // a call that hung has come through
		synctest.Wait()
		require.True(t, p.ok())
	})
}

func TestProbeAsksNothingWhileCallsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := runProbe(t)
		before := p.asked.Load()
		for range 60 {
			p.Answered()
			after(time.Second)
		}
		require.Equal(t, before, p.asked.Load())
		after(time.Hour)
		require.InDelta(t, 3600/5, p.asked.Load()-before, 2, "and every five seconds when there are none")
	})
}

func TestOneCallWithoutAnAnswerIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := runProbe(t)
		for range 100 { // a step that fails again and again while the rest works
			p.Unanswered()
			after(time.Second)
			require.True(t, p.ok())
			require.False(t, p.isAway())
		}
		require.Empty(t, p.log.String())
	})
}

// testAwaySpendsNothing has a step fail more often than it has attempts while a
// probe says that something is away: the operation goes on afterwards, and the
// portal is told once.
func testAwaySpendsNothing(t *testing.T, w *world) {
	var gone atomic.Bool
	gone.Store(true)
	probe := NewProbe("docker", func(context.Context) error {
		if gone.Load() {
			return errors.New("refused")
		}
		return nil
	})
	var tries atomic.Int64
	w.on("alpha", func(context.Context, *jobs.Attempt) (jobs.Result, error) {
		tries.Add(1)
		if gone.Load() {
			return jobs.Result{}, &jobs.Error{Code: jobs.CodeUnavailable, Message: "refused", Retryable: true}
		}
		return jobs.Result{}, nil
	})
	one := w.start("one", func(o *Options) {
		o.Probes = []*Probe{probe}
		o.Timing.Away, o.Timing.ProbeAway = time.Millisecond, 20*time.Millisecond
	})
	w.until("the probe says so", func() bool { return probe.isAway() && !ready(one.Worker, "docker") })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	w.until("more tries than attempts", func() bool { return tries.Load() > 3*defaultAttempts })
	st := w.steps("r1")["alpha"]
	require.Zero(t, st.Failures)
	require.Len(t, st.History, 1)
	gone.Store(false)
	w.ends("r1", jobs.OperationSucceeded)
	w.until("the probe says that it is back", func() bool { return ready(one.Worker, "docker") })
	told := w.events("r1", jobs.OperationSucceededEv)
	inOrder(t, told)
	retrying := 0
	for _, e := range told {
		if e.Type == jobs.EventTypeName(jobs.StepRetrying) {
			retrying++
		}
	}
	require.Equal(t, 1, retrying, "%v", typesOf(told))
}
