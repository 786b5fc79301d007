package h2

import (
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// needs finds a program of Debian, or skips the test. With CULVERT_REAL=1 the test fails
// instead.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil && os.Getenv("CULVERT_REAL") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("%v (apt-get install nghttp2-client)", err)
	}
	return path
}

// page answers as h2spec and nghttp expect of a web server: with a small page to every
// request, after its content.
func page(s *Stream, _ Head) {
	defer s.Close()
	if _, err := s.WriteTo(new(strings.Builder)); err != nil {
		return
	}
	if s.Respond(fields(":status", "200", "content-length", "6000", "content-type", "text/plain"), false) == nil {
		_, _ = s.Write([]byte(strings.Repeat("culvert\n", 750)))
	}
}

// The exact version: the list of its tests is part of what passes.
const h2specModule = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

func TestRealH2spec(t *testing.T) {
	if os.Getenv("CULVERT_REAL") != "1" {
		t.Skip("builds h2spec, which may have to be downloaded: set CULVERT_REAL=1")
	}
	dir := t.TempDir()
	install := exec.Command("go", "install", h2specModule)
	install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("go install %s: %v\n%s", h2specModule, err, out)
	}
	_, port, _ := net.SplitHostPort(startServer(t, Config{}, page))
	report := filepath.Join(dir, "report.xml")
	out, err := exec.Command(filepath.Join(dir, "h2spec"), "--host", "127.0.0.1", "--port", port, "--timeout", "3",
		"--junit-report", report, "generic", "hpack", "http2").CombinedOutput()
	data, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("h2spec: %v, %v\n%s", err, readErr, out)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &suites); err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, suite := range suites.Suites {
		for _, test := range suite.Cases {
			run++
			if test.Failure != nil || test.Error != nil || test.Skipped != nil {
				t.Errorf("%s: %s fails", test.Package, test.Name)
			}
		}
	}
	if run < 140 {
		t.Errorf("only %d tests were run", run)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

func TestRealNghttp(t *testing.T) {
	nghttp := needs(t, "nghttp")
	address := startServer(t, Config{}, page)
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string][]string{
		"priorities":         {"--weight=200"},
		"padding":            {"--padding=200"},
		"an upload":          {"--data=" + big},
		"a padded upload":    {"--padding=255", "--data=" + big, "--trailer=sum: 7"},
		"small windows":      {"--window-bits=10", "--connection-window-bits=10"},
		"no dynamic table":   {"--header-table-size=0"},
		"continuation":       {"--continuation", "--header=a: " + strings.Repeat("b", 20000)},
		"several at a time":  {"--multiply=200", "--peer-max-concurrent-streams=100"},
		"expecting continue": {"--expect-continue", "--data=" + big},
	}
	for name, flags := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(nghttp, append(flags, "--timeout=20", "http://"+address+"/")...).Output()
			want := 1
			if name == "several at a time" {
				want = 200
			}
			if err != nil || len(out) != 6000*want { // the pieces of several streams are mixed
				t.Fatalf("got %d bytes, want %d: %v", len(out), 6000*want, err)
			}
		})
	}
}

func TestRealH2load(t *testing.T) {
	h2load := needs(t, "h2load")
	address := startServer(t, Config{}, page)
	for _, at := range []int{1, 100, 250} {
		out, err := exec.Command(h2load, "--requests=5000", "--clients=5", "--max-concurrent-streams="+strconv.Itoa(at),
			"http://"+address+"/").Output()
		if err != nil || !strings.Contains(string(out), "5000 succeeded, 0 failed, 0 errored, 0 timeout") {
			t.Errorf("%d streams at a time: %v\n%s", at, err, out)
		}
	}
}
