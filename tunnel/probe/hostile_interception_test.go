package probe

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/interception"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// A proxy that shows a certificate once and misbehaves in each further handshake
// delays nobody for longer than the check's patience, and there is a verdict.
func TestHostileFurtherHandshakes(t *testing.T) {
	pair := hostileCertificate(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "target"}, NotAfter: time.Now().Add(time.Hour)})
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	open := reply200 + "\r\n"
	silent := tunneltest.Serve(tunneltest.Silent)
	for name, further := range map[string][]tunneltest.Step{
		"no reply":              {tunneltest.Hold},
		"endless head":          {tunneltest.Send(reply200), again("A: b\r\n")},
		"drip in the head":      {tunneltest.Send(reply200 + "A: "), drip},
		"endless content":       {tunneltest.Send("HTTP/1.1 403 No\r\n\r\n"), again(nasty)},
		"a refusal":             {tunneltest.Send(withNasty), tunneltest.Finish},
		"credentials":           {tunneltest.Send(echoed), tunneltest.Finish},
		"no TLS":                {tunneltest.Send(open), silent},
		"garbage for TLS":       {tunneltest.Send(open + nasty), again(nasty)},
		"half a record of TLS":  {tunneltest.Send(open + "\x16\x03\x03\x40\x00\x02"), silent},
		"drip in TLS":           {tunneltest.Send(open + "\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"), drip},
		"endless alerts of TLS": {tunneltest.Send(open), again("\x15\x03\x03\x00\x02\x01\x5a")},
		"reset":                 {tunneltest.Cut},
		"reset in TLS":          {tunneltest.Send(open), tunneltest.Cut},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			first := []tunneltest.Step{tunneltest.Send(open), tunneltest.Serve(func(conn net.Conn) {
				if secured := tls.Server(conn, config); secured.Handshake() == nil {
					io.Copy(io.Discard, secured)
				}
			})}
			proxy := tunneltest.StartProxy(t, tunneltest.ReadHead, func(turn *tunneltest.Turn) bool {
				steps := further
				if n.Add(1) == 1 {
					steps = first
				}
				for _, step := range steps {
					if !step(turn) {
						return false
					}
				}
				return true
			})
			p := hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), false)
			p.Client.TLS = &tunnel.TLSOptions{Insecure: true}
			p.Interception = &interception.Check{NoDirect: true, Patience: 4 * testkit.BriefWait}
			r := probeHostile(t, p)
			if r.Interception == nil || r.Interception.Verdict == interception.EndToEnd || r.Verdict.Kind != VerdictOpen || n.Load() < 3 {
				t.Errorf("%+v, %+v after %d handshakes", r.Verdict, r.Interception, n.Load())
			}
		})
	}
}

// A TLS handshake, with the proxy or inside the tunnel, takes no longer than the
// Timeout.
func TestHostileTLS(t *testing.T) {
	for name, script := range map[string][]tunneltest.Step{
		"silence":       {tunneltest.Hold},
		"half a record": {tunneltest.Send("\x16\x03\x03\x40\x00\x02"), tunneltest.Hold},
		"drip":          {tunneltest.Send("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"), drip},
	} {
		t.Run(name, func(t *testing.T) {
			secure := tunneltest.StartProxy(t, script...)
			if r := probeHostile(t, hostileProber(t, "https://ada:"+hostileSecret+"@"+secure.Addr(), true)); r.Verdict.Kind != VerdictSilent {
				t.Errorf("%+v", r.Verdict)
			}
			proxy := tunneltest.StartProxy(t, append([]tunneltest.Step{tunneltest.ReadHead, tunneltest.Send(reply200 + "\r\n")}, script...)...)
			p := hostileProber(t, "http://ada:"+hostileSecret+"@"+proxy.Addr(), true)
			p.Client.TLS, p.Interception = &tunnel.TLSOptions{}, &interception.Check{NoDirect: true}
			if r := probeHostile(t, p); r.Verdict.Kind != VerdictSilent {
				t.Errorf("%+v", r.Verdict)
			}
		})
	}
}
