package sock

import (
	"context"
	"net"
	"time"
)

// Past is a deadline that has passed for every clock.
var Past = time.Unix(1, 0)

// InterruptOnDone lets the context's end interrupt reads and writes on conn, and
// returns what lifts that again. A deadline left behind would cut the tunnel.
func InterruptOnDone(ctx context.Context, conn net.Conn) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(Past)
		close(done)
	})
	return func() {
		if !stop() {
			<-done
			conn.SetDeadline(time.Time{})
		}
	}
}
