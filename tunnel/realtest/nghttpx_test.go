//go:build unix

package realtest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/tunneltest"
)

// fronts are the addresses of an nghttpx that is a proxy over TLS, where it
// chooses HTTP/2 by ALPN, and in clear, in front of squid.
type fronts struct{ secure, clear string }

var nghttpx = shared(func(t testing.TB) fronts {
	path := needs(t, "nghttpx")[0]
	back := strings.Replace(squid(t), ":", ",", 1)
	own := issue(t, nil, "nghttpx", tomorrow())
	f := fronts{"127.0.0.1:" + freePort(t), "127.0.0.1:" + freePort(t)}
	background(t, path, "--conf=/dev/null", "--frontend="+strings.Replace(f.secure, ":", ",", 1), "--frontend="+strings.Replace(f.clear, ":", ",", 1)+";no-tls",
		"--backend="+back, "--http2-proxy", "--workers=1", "--backend-connections-per-host=200", "--errorlog-file="+filepath.Join(t.TempDir(), "error.log"), own.pem, own.cert)
	accepts(t, f.secure)
	accepts(t, f.clear)
	return f
}, "nghttpx", "squid")

// Through nghttpx, over HTTP/1.1 and HTTP/2, ssh's bytes come whole both ways.
func TestRealSSHThroughNghttpx(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	secure, clear := nghttpx(t).secure, nghttpx(t).clear
	payload := make([]byte, 64<<20)
	rand.NewChaCha8([32]byte{7}).Read(payload)
	want := sha256.Sum256(payload)
	for _, proxy := range []string{"http://" + clear, "h2c://" + clear, "https://" + secure, "h2://" + secure} {
		t.Run(proxy[:strings.Index(proxy, ":")], func(t *testing.T) {
			command := culvert(t) + " dial -k -x " + proxy + " -- %h %p"
			cmd := server.command(t.Context(), command, "cat; exit 3")
			cmd.Stdin = strings.NewReader(string(payload))
			hash := sha256.New()
			var stderr lockedBuffer
			cmd.Stdout, cmd.Stderr = hash, &stderr
			timer := time.AfterFunc(3*bound, func() { cmd.Process.Kill() })
			defer timer.Stop()
			cmd.Run()
			if got := [32]byte(hash.Sum(nil)); got != want || cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("the checksum is %x, want %x; exit %d; %s", got, want, cmd.ProcessState.ExitCode(), &stderr)
			}
		})
	}
}

// A hundred tunnels at once go over one connection to nghttpx.
func TestRealNghttpxCarriesManyTunnels(t *testing.T) {
	t.Parallel()
	secure := nghttpx(t).secure
	hop, err := tunnel.ParseHop("h2://" + secure)
	if err != nil {
		t.Fatal(err)
	}
	hop.TLS = &tunnel.TLSOptions{Insecure: true}
	var mu sync.Mutex
	connects := 0
	client := &client.Client{Route: tunnel.Route{Hops: []tunnel.Hop{hop}},
		Trace: &client.Trace{Connected: func(string, error) { mu.Lock(); connects++; mu.Unlock() }}}
	defer client.Close()
	echo := tunneltest.Start(t, tunneltest.Echo).Addr()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			conn, err := client.DialContext(ctx, "tcp", echo)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(bound))
			text := strings.Repeat(fmt.Sprintf("tunnel %d ", i), 1000)
			go io.WriteString(conn, text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != text {
				t.Errorf("tunnel %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if connects != 1 {
		t.Errorf("there were %d connections", connects)
	}
}

// What squid refuses, nghttpx passes on: the same exit code and sentence as over
// HTTP/1.1, and probe's verdict.
func TestRealRefusalsThroughNghttpx(t *testing.T) {
	t.Parallel()
	secure := nghttpx(t).secure
	target := tunneltest.Unused(t)
	_, port, _ := net.SplitHostPort(target)
	for _, scheme := range []string{"https", "h2"} {
		_, stderr, code := runProgram(t, nil, culvert(t), "dial", "-k", "-x", scheme+"://"+secure, "--", target)
		if code != 7 || !strings.Contains(stderr, "proxy "+secure+" could not reach 127.0.0.1:"+port+": 503") {
			t.Errorf("%s: exit %d, %q", scheme, code, stderr)
		}
	}
	echo := tunneltest.Start(t, tunneltest.Say("hello")).Addr()
	stdout, _, code := runProgram(t, nil, culvert(t), "probe", "-k", "--json", "-x", "h2://"+secure, echo)
	var report struct {
		TLS    []struct{ ALPN string }
		Frames []struct {
			Sent  bool
			Frame string
		}
		Tunnel   struct{ Data string }
		Findings []struct{ ID, Grade, Evidence string }
		Verdict  struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 || report.Verdict.Kind != "open" || report.Tunnel.Data != "hello" || len(report.TLS) != 1 || report.TLS[0].ALPN != "h2" {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	var frames []string
	for _, f := range report.Frames {
		frames = append(frames, fmt.Sprint(f.Sent, " ", strings.Fields(f.Frame)[0]))
	}
	for _, want := range []string{"true SETTINGS", "true HEADERS", "false SETTINGS", "false HEADERS"} {
		if !strings.Contains(strings.Join(frames, "\n"), want) {
			t.Errorf("the frames %q lack %q", frames, want)
		}
	}
	for _, f := range report.Findings {
		if f.Grade == "fail" && f.ID != "tls-trust" {
			t.Errorf("%s fails: %s", f.ID, f.Evidence)
		}
	}
}
