package sock

import (
	"context"
	"net"
	"time"
)

// Past is a deadline that has passed by any clock: it interrupts reads and writes
// that wait.
var Past = time.Unix(1, 0)

// InterruptOnDone interrupts reads and writes on conn once ctx is done, by
// setting its deadlines to Past. The caller must call release, which ends this
// and clears such a deadline again: one left behind would end the tunnel.
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
