package proxy

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"culvert/tunnel/internal/h2"
	"culvert/tunnel/internal/testkit"
)

// As TestEarlyAnswerToABigUploadOverHTTP2, over TLS too, which the standard library's
// client does not do for http URLs.
func TestEarlyAnswerEndsTheStream(t *testing.T) {
	origin := tooLargeOrigin(t)
	for _, protocol := range matrixProtocols {
		if !protocol.http2 {
			continue
		}
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			m := newMatrix(t, protocol, &Server{})
			_, conn := m.shared()
			for range 3 {
				s, err := conn.Open(t.Context(), []h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: origin.Addr()},
					{Name: ":path", Value: "/"}, {Name: "content-length", Value: fmt.Sprint(uploadSize)}}, false)
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() {
					_, err := io.CopyN(s, testkit.Endless{}, uploadSize)
					ended <- err
				}()
				head, err := s.ReadHead(t.Context())
				if err != nil || head.Status() != 413 {
					t.Fatalf("%+v, %v", head, err)
				}
				if body, err := io.ReadAll(s); err != nil || string(body) != "too large" {
					t.Errorf("%q, %v", body, err)
				}
				var reset *h2.StreamError
				if err := testkit.Receive(t, "the upload's end", ended); !errors.As(err, &reset) || reset.Code != h2.CodeNo {
					t.Errorf("the upload ended with %v, want a reset without error", err)
				}
				s.Close()
			}
		})
	}
}
