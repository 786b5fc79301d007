package dialer

import (
	"context"
	"sync"
	"time"
)

// lateContext is context.WithDeadline for work that is mostly done at once: the
// timer, and the place in the parent's books, which all share, are taken only
// when somebody begins to wait.
type LazyContext struct {
	context.Context // the parent
	at              time.Time

	mu     sync.Mutex
	real   context.Context // nil: nobody has waited yet
	cancel context.CancelFunc
}

// WithLateTimeout returns a context that ends with its parent, or after limit.
// The caller releases it.
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

// Release frees what waiting took. What still waits then ends as cancelled.
func (c *LazyContext) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
