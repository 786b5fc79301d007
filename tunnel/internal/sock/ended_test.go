package sock_test

import (
	"testing"
	"time"

	"culvert/tunnel/internal/sock"
	"culvert/tunnel/internal/testkit"
)

// HasEnded takes no bytes from the connection.
func TestHasEnded(t *testing.T) {
	near, far := testkit.SocketPair(t, "tcp", "127.0.0.1:0")
	if sock.HasEnded(near) {
		t.Error("an open connection has ended")
	}
	testkit.Send(t, far, "x")
	testkit.Eventually(t, "bytes that nobody asked for are noticed", func() bool { return sock.HasEnded(near) })
	near.SetReadDeadline(time.Now().Add(testkit.Patience))
	testkit.Expect(t, near, "x")
	if sock.HasEnded(near) {
		t.Error("after them, it has ended")
	}
	far.Close()
	testkit.Eventually(t, "the end is noticed", func() bool { return sock.HasEnded(near) })
}
