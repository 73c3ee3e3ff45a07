package docker

import (
	"context"
	"time"
)

// linger is how long the answer to a call that makes something is waited for after the caller's context has ended.
const linger = 5 * time.Second

// making is the context of a call that makes something. When the caller is interrupted while the Engine works on it,
// the Engine does not stop: a step that returned at once would be undone before the thing exists, and leave it behind.
// So the end of ctx ends the call only after the linger. Calls with a ctx that has ended already are refused.
func making(ctx context.Context, linger time.Duration) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return ctx, func() {}
	}
	call, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		late := time.AfterFunc(linger, func() { cancel(context.Cause(ctx)) })
		context.AfterFunc(call, func() { late.Stop() })
	})
	return call, func() {
		stop()
		cancel(nil)
	}
}
