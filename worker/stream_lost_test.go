package worker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestStreamsThatAreDeletedAreMadeAnew deletes each stream under a running
// worker: it goes on by itself.
func TestStreamsThatAreDeletedAreMadeAnew(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{jobs.StreamEvents, jobs.StreamRequests, jobs.StreamDead} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newMemStore())
			w.start("one", func(o *Options) { o.Timing.Pull, o.Timing.Sweep = 400*time.Millisecond, 200*time.Millisecond })
			w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
			w.events("r1", jobs.OperationSucceededEv)

			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			require.NoError(t, w.js.DeleteStream(ctx, stream))
			body := request(jobs.ClusterCreate, "r2", "stock", stages("alpha"))
			w.until("a request is taken", func() bool {
				_, err := w.js.Publish(ctx, jobs.RequestSubject(tenant, jobs.ClusterCreate), body)
				return err == nil
			})
			w.ends("r2", jobs.OperationSucceeded)
			w.until("its stream is there", func() bool {
				_, err := w.js.Stream(ctx, stream)
				return err == nil
			})
			inOrder(t, w.events("r2", jobs.OperationSucceededEv))
		})
	}
}
