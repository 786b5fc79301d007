package dialer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A LazyContext behaves as context.WithTimeout does, whichever method is called
// first.
func TestLateContext(t *testing.T) {
	for name, wait := range map[string]bool{"asked only": false, "waited for": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(t.Context())
				c := WithLazyTimeout(parent, time.Second)
				if wait {
					c.Done()
				}
				if at, ok := c.Deadline(); !ok || time.Until(at) != time.Second || c.Err() != nil {
					t.Errorf("deadline in %v, error %v", time.Until(at), c.Err())
				}
				if wait {
					<-c.Done()
				} else {
					time.Sleep(time.Second)
				}
				if !errors.Is(c.Err(), context.DeadlineExceeded) {
					t.Errorf("past its deadline: %v", c.Err())
				}
				c.Release()

				c = WithLazyTimeout(parent, time.Hour)
				if wait {
					c.Done()
				}
				cancel()
				synctest.Wait()
				if !errors.Is(c.Err(), context.Canceled) {
					t.Errorf("its parent was cancelled: %v", c.Err())
				}
				c.Release()

				early, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				c = WithLazyTimeout(early, time.Hour)
				if at, _ := c.Deadline(); time.Until(at) != time.Millisecond {
					t.Errorf("its parent ends in a millisecond, it in %v", time.Until(at))
				}
				<-c.Done()
				c.Release()
			})
		})
	}
}
