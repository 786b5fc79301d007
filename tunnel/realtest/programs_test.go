//go:build unix

package realtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestRealSSHRunsACommand(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	eachProxy(t, func(t *testing.T, address string) {
		out, err := server.command(t.Context(), dialThrough(t, address), "echo", "through").Output()
		if err != nil || string(out) != "through\n" {
			t.Fatalf("got %q, %v", out, err)
		}
	})
}

func TestRealSSHCarries64MiBBothWays(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	payload := make([]byte, 64<<20)
	rand.Read(payload)
	want := sha256.Sum256(payload)
	eachProxy(t, func(t *testing.T, address string) {
		cmd := server.command(t.Context(), dialThrough(t, address), "cat")
		cmd.Stdin = bytes.NewReader(payload)
		hash := sha256.New()
		cmd.Stdout = hash
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if got := [32]byte(hash.Sum(nil)); got != want {
			t.Fatalf("the checksum is %x, want %x", got, want)
		}
	})
}

func TestRealSSHTwentySessionsAtOnce(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	eachProxy(t, func(t *testing.T, address string) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*bound)
		defer cancel()
		var sessions sync.WaitGroup
		for i := range 20 {
			sessions.Go(func() {
				word := fmt.Sprint("session-", i)
				out, err := server.command(ctx, dialThrough(t, address), "echo", word).CombinedOutput()
				if err != nil || string(out) != word+"\n" {
					t.Errorf("session %d: %q, %v", i, out, err)
				}
			})
		}
		sessions.Wait()
	})
}

func TestRealSSHPrintsTheRefusal(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	address, _ := serveWith(t) // port 22, 80, 443 only
	var stderr bytes.Buffer
	cmd := server.command(t.Context(), dialThrough(t, address), "true")
	cmd.Stderr = &stderr
	if cmd.Run() == nil {
		t.Fatal("ssh got through to a port that is not allowed")
	}
	for _, want := range []string{
		"culvert dial: proxy " + address + " refused 127.0.0.1:" + server.port + ": 403 Forbidden (destination port " + server.port + " is not allowed here)",
		"hint: ask the proxy's administrator to allow port " + server.port,
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, &stderr)
		}
	}
}

func TestRealSSHWithCredentials(t *testing.T) {
	t.Parallel()
	server := sshd(t)
	eachLockedProxy(t, func(t *testing.T, address string) {
		out, err := server.command(t.Context(), dialThrough(t, user+"@"+address), "echo", "in").CombinedOutput()
		if err != nil || string(out) != "in\n" {
			t.Fatalf("got %q, %v", out, err)
		}
	})
}

// origin answers with the method and a body of its own.
func origin(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %d\n", r.Method, r.URL.Path, len(body))
}

func TestRealCurlThroughServe(t *testing.T) {
	t.Parallel()
	curl := needs(t, "curl")[0]
	plain := httptest.NewServer(http.HandlerFunc(origin))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(origin))
	defer secure.Close()
	open := startOpenServe(t)
	locked := startLockedServe(t)
	upload := write(t, filepath.Join(t.TempDir(), "upload"), strings.Repeat("x", 1<<20))
	for _, test := range []struct {
		name string
		arg  []string
		want string
	}{
		{"http", []string{"-x", open, plain.URL + "/a"}, "GET /a 0\n"},
		{"https", []string{"-k", "-x", open, secure.URL + "/a"}, "GET /a 0\n"},
		{"http in a tunnel", []string{"-p", "-x", open, plain.URL + "/a"}, "GET /a 0\n"},
		{"POST", []string{"-x", open, "--data-binary", "@" + upload, plain.URL + "/up"}, "POST /up 1048576\n"},
		{"POST in chunks", []string{"-x", open, "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + upload, plain.URL + "/up"}, "POST /up 1048576\n"},
		{"POST, no Expect", []string{"-x", open, "-H", "Expect:", "--data-binary", "@" + upload, plain.URL + "/up"}, "POST /up 1048576\n"},
		{"keep-alive", []string{"-x", open, "-w", "%{num_connects} ", plain.URL + "/1", plain.URL + "/2", plain.URL + "/3"}, "GET /1 0\n1 GET /2 0\n0 GET /3 0\n0 "},
		{"HEAD", []string{"-x", open, "-I", "-o", os.DevNull, "-w", "%{http_code}", plain.URL + "/a"}, "200"},
		{"407 without credentials", []string{"-x", locked, "-o", os.DevNull, "-w", "%{http_code}", plain.URL + "/a"}, "407"},
		{"407 for a tunnel", []string{"-k", "-x", locked, "-o", os.DevNull, "-w", "%{http_connect}", secure.URL + "/a"}, "407"},
		{"wrong password", []string{"-x", locked, "-U", "ada:byron", "-o", os.DevNull, "-w", "%{http_code}", plain.URL + "/a"}, "407"},
		{"credentials", []string{"-x", locked, "-U", "ada:lovelace", plain.URL + "/a"}, "GET /a 0\n"},
		{"credentials for a tunnel", []string{"-k", "-x", locked, "-U", "ada:lovelace", secure.URL + "/a"}, "GET /a 0\n"},
		{"challenge first", []string{"-x", locked, "--proxy-anyauth", "-U", "ada:lovelace", "--data-binary", "@" + upload, plain.URL + "/up"}, "POST /up 1048576\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// curl leaves 127.0.0.1 out of nothing here: -x is explicit.
			out, errs, _ := runProgram(t, nil, curl, append([]string{"-sS", "--max-time", "20"}, test.arg...)...)
			if out != test.want {
				t.Fatalf("curl printed %q, want %q; %s", out, test.want, errs)
			}
		})
	}
}

func TestRealOpenSSLAndNcatThroughServe(t *testing.T) {
	t.Parallel()
	paths := needs(t, "openssl", "ncat")
	secure := httptest.NewTLSServer(http.HandlerFunc(origin))
	defer secure.Close()
	proxy, log := serveWith(t, "--allow", "*:*")
	target := strings.TrimPrefix(secure.URL, "https://")
	request := "GET /s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	out, errs, _ := runProgram(t, strings.NewReader(request), paths[0], "s_client", "-quiet", "-proxy", proxy, "-connect", target)
	if !strings.HasSuffix(out, "GET /s 0\n") {
		t.Fatalf("openssl printed %q; %s", out, errs)
	}
	plain := httptest.NewServer(http.HandlerFunc(origin))
	defer plain.Close()
	host, port, _ := net.SplitHostPort(plain.Listener.Addr().String())
	out, errs, _ = runProgram(t, strings.NewReader(strings.Replace(request, "/s", "/n", 1)), paths[1], "--proxy", proxy, "--proxy-type", "http", host, port)
	if !strings.HasSuffix(out, "GET /n 0\n") {
		t.Fatalf("ncat printed %q; %s", out, errs)
	}
	eventually(t, "both tunnels are logged as closed", func() bool {
		return strings.Count(log.String(), `"msg":"tunnel close"`) == 2
	})
}

func TestRealDialThroughNcat(t *testing.T) {
	t.Parallel()
	ncat := needs(t, "ncat")[0]
	plain := httptest.NewServer(http.HandlerFunc(origin))
	defer plain.Close()
	port := freePort(t)
	// It listens everywhere, whatever address it is told.
	background(t, ncat, "-lk", "--proxy-type", "http", "--allow", "127.0.0.1", "127.0.0.1", port)
	accepts(t, "127.0.0.1:"+port)
	request := "GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	out, errs, code := runProgram(t, strings.NewReader(request), culvert(t), "dial", "-x", "127.0.0.1:"+port, "--on-eof", "wait", "--", plain.Listener.Addr().String())
	if code != 0 || !strings.HasSuffix(out, "GET /d 0\n") {
		t.Fatalf("dial printed %q, exit %d; %s", out, code, errs)
	}
}

// probeReport is what these tests read of probe's JSON.
type probeReport struct {
	Schema  int `json:"schema"`
	Verdict struct {
		Words string `json:"words"`
		Exit  int    `json:"exit_code"`
	} `json:"verdict"`
}

func TestRealProbe(t *testing.T) {
	t.Parallel()
	echo := httptest.NewServer(http.HandlerFunc(origin))
	defer echo.Close()
	open := echo.Listener.Addr().String()
	closed := "127.0.0.1:" + freePort(t)
	eachProxy(t, func(t *testing.T, address string) {
		for _, test := range []struct {
			name, target string
			exit         int
		}{
			{"open", open, 0}, {"denied", "127.0.0.9:80", 6}, {"target unreachable", closed, 7},
		} {
			t.Run(test.name, func(t *testing.T) { expectProbe(t, test.exit, "--proxy", "http://"+address, test.target) })
		}
	})
	eachLockedProxy(t, func(t *testing.T, address string) {
		for _, test := range []struct {
			name, user string
			exit       int
		}{
			{"credentials wanted", "", 5}, {"credentials refused", "ada:byron@", 5}, {"credentials", "ada:lovelace@", 0},
		} {
			t.Run(test.name, func(t *testing.T) { expectProbe(t, test.exit, "--proxy", "http://"+test.user+address, open) })
		}
	})
}

// expectProbe runs probe for people and for programs: both must agree.
func expectProbe(t *testing.T, exit int, arg ...string) {
	t.Helper()
	text, errs, code := runProgram(t, nil, culvert(t), append([]string{"probe", "--wait", "50ms"}, arg...)...)
	if code != exit {
		t.Errorf("exit %d, want %d:\n%s%s", code, exit, text, errs)
	}
	document, _, code := runProgram(t, nil, culvert(t), append([]string{"probe", "--json", "--wait", "50ms"}, arg...)...)
	var report probeReport
	if err := json.Unmarshal([]byte(document), &report); err != nil || code != exit {
		t.Fatalf("--json: exit %d, want %d, %v:\n%s", code, exit, err, document)
	}
	if report.Schema != 1 || report.Verdict.Exit != exit {
		t.Errorf("--json: schema %d, verdict %+v, want exit %d", report.Schema, report.Verdict, exit)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(text, report.Verdict.Words) {
		t.Errorf("the text, ending in %q, lacks the verdict %q", last, report.Verdict.Words)
	}
	if strings.Contains(text+document, "lovelace") || strings.Contains(text+document, "YWRhOmxvdmVsYWNl") {
		t.Errorf("the password is shown:\n%s", text)
	}
}
