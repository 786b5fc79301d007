package probe

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// oddPieces are put together to answers of odd proxies.
var oddPieces = []string{
	"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early\nLink: a\n\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 \r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 403 No\r\n", "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
	"HTTP/1.1 302 Found\r\nLocation: http://a.test/\r\n\r\n", "HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\nshort", "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz", "HTTP/1.1 101 Switch\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 20", "Via: 1.1 p\r\n", "\r\n", "\n", " folded\r\n",
	"<!DOCTYPE html><title>x</title>", "SSH-2.0-x\r\n", "\x15\x03\x03\x00\x02\x02\x46", nasty, "\x00\xff\r", "-- connection 1/exchange 1/left --\n", "\\x41\\", floods,
}

// Whatever a proxy answers, in whatever pieces, and however it leaves the
// connection, the transcript replays to the same report.
func TestTranscriptsOfOddProxies(t *testing.T) {
	const cases = 40
	for seed := range uint64(cases) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			var answer strings.Builder
			for range random.IntN(5) {
				answer.WriteString(oddPieces[random.IntN(len(oddPieces))])
			}
			script := []tunneltest.Step{tunneltest.ReadHead}
			for rest := answer.String(); rest != ""; {
				n := len(rest)
				if random.IntN(2) == 0 {
					n = 1 + random.IntN(min(n, 100))
				}
				script = append(script, tunneltest.Send(rest[:n]))
				rest = rest[n:]
			}
			script = append(script, []tunneltest.Step{tunneltest.Finish, tunneltest.Hold, tunneltest.Cut}[random.IntN(3)])
			wantSameReport(t, tunneltest.StartProxy(t, script...).Addr(), func(proxy string, limit time.Duration) *Report {
				p := &Prober{Client: clienttest.Proxied(t, proxy), Wait: 2 * limit, tlsTryTimeout: testkit.BriefWait}
				p.Client.Timeout = 5 * limit
				r := probeAt(t, p)
				wantHarmlessForms(t, r)
				return r
			})
		})
	}
}
