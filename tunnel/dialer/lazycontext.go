package dialer

import (
	"context"
	"sync"
	"time"
)

// LazyContext is like the context of context.WithTimeout, for work that seldom has to
// wait: its timer is started, and it is registered with its parent, only when Done is
// called first. Registering takes a lock of the parent, which many dials share.
type LazyContext struct {
	context.Context // the parent
	at              time.Time

	mu     sync.Mutex
	real   context.Context // nil = Done was not called yet
	cancel context.CancelFunc
}

// WithLazyTimeout returns a context that ends when its parent does, or after limit.
// The caller calls Release when the work is done.
func WithLazyTimeout(parent context.Context, limit time.Duration) *LazyContext {
	return &LazyContext{Context: parent, at: time.Now().Add(limit)}
}

// Deadline implements context.Context.
func (c *LazyContext) Deadline() (time.Time, bool) {
	if at, ok := c.Context.Deadline(); ok && at.Before(c.at) {
		return at, true
	}
	return c.at, true
}

// Done implements context.Context.
func (c *LazyContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		c.real, c.cancel = context.WithDeadline(c.Context, c.at)
	}
	return c.real.Done()
}

// Err implements context.Context.
func (c *LazyContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.real != nil:
		return c.real.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case !time.Now().Before(c.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Release frees the resources of the context. If it has not ended yet and Done was
// called, it ends as cancelled.
func (c *LazyContext) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
