package serve

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/cli/journal"
	"culvert/tunnel/client"
	"culvert/tunnel/proxy"
)

// parse returns the values of a command line of serve.
func parse(t *testing.T, words ...string) *args.Values {
	t.Helper()
	line := args.NewLine(args.Program{Name: "culvert", Verbs: []args.Verb{{Name: "serve", Flags: Flags()}}})
	if err := line.Parse(append([]string{"serve"}, words...)); err != nil {
		t.Fatal(err)
	}
	return &line.Values
}

// openJournal opens a journal whose messages to a person have the words "error" and
// "hint", or nothing, before them.
func openJournal(t *testing.T, w io.Writer, format string) *journal.Journal {
	j := journal.Open(w, format, "info", journal.Words{
		Talk:  func(message string) string { return message + "\n" },
		Error: func(message, hint string) string { return "error " + message + "\nhint " + hint + "\n" },
	})
	t.Cleanup(j.Close)
	return j
}

func TestDurationsAndLimitsOfTheServer(t *testing.T) {
	type limits struct {
		Header, Connect, Idle, Linger time.Duration
		Tunnels, PerClient, Conns     int
	}
	for _, tt := range []struct {
		name  string
		words []string
		want  limits
	}{
		{"by default", nil, limits{proxy.DefaultHeaderTimeout, client.DefaultConnectTimeout, 0, proxy.DefaultLinger, 0, 0, 0}},
		{"as they are set", []string{"--header-timeout", "1s", "--connect-timeout", "2s", "--idle-timeout", "3s", "--linger", "4s", "--max-tunnels", "5", "--max-tunnels-per-client", "6", "--max-connections-per-client", "7"},
			limits{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5, 6, 7}},
		{"0 is off", []string{"--header-timeout", "0", "--connect-timeout", "0", "--idle-timeout", "0", "--linger", "0", "--max-tunnels", "0", "--max-tunnels-per-client", "0", "--max-connections-per-client", "0"},
			limits{-1, -1, 0, -1, -1, 0, -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewServer(parse(t, tt.words...))
			if err != nil {
				t.Fatal(err)
			}
			got := limits{s.HeaderTimeout, s.ConnectTimeout, s.IdleTimeout, s.Linger, s.MaxTunnels, s.MaxTunnelsPerClient, s.MaxConnectionsPerClient}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRulesOfTheServer(t *testing.T) {
	s, err := NewServer(parse(t, "--allow", "a.example:22,443", "--allow", "b.example", "--deny", "c.example", "--allow-addr", "private",
		"--deny-addr", "10.0.0.0/8", "--allow-client", "192.0.2.0/24", "--via", "*.example=http://proxy.example:3128"))
	if err != nil {
		t.Fatal(err)
	}
	got := [...]int{len(s.Policy.Allow), len(s.Policy.Deny), len(s.Policy.AllowAddr), len(s.Policy.DenyAddr), len(s.AllowClient), len(s.Via)}
	if want := [...]int{2, 1, 1, 1, 1, 1}; got != want {
		t.Errorf("got %v rules, want %v", got, want)
	}
}

func TestMistakesNameTheFlag(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"--linger=-1s"}, "--linger: a duration cannot be negative"},
		{[]string{"--drain-timeout=-1s"}, "--drain-timeout: a duration cannot be negative"},
		{[]string{"--max-tunnels=-1"}, "--max-tunnels: a limit cannot be negative"},
		{[]string{"--max-connections-per-client=-1"}, "--max-connections-per-client: a limit cannot be negative"},
		{[]string{"--users", missing}, "--users: "},
	} {
		if _, err := NewServer(parse(t, tt.words...)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.words, err)
		}
	}
	if _, err := ListenSpecs(parse(t, "--listen", "127.0.0.1:1", "--listen", "ftp://x")); err == nil {
		t.Error("a listener by FTP")
	}
}

func TestListenersByDefault(t *testing.T) {
	specs, err := ListenSpecs(parse(t))
	if err != nil || len(specs) != 1 || specs[0].TLS {
		t.Errorf("got %+v, %v", specs, err)
	}
}

func TestLogThatCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "log")
	_, err := OpenLogs(parse(t, "--access-log", path), openJournal(t, io.Discard, "text"))
	if e, ok := err.(*args.Error); !ok || e.ExitCode != tunnel.ExitUnexpected {
		t.Errorf("got %v", err)
	}
}
