package journal

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

var words = Words{
	Talk:  func(message string) string { return "verb: " + message + "\n" },
	Error: func(message, hint string) string { return "verb: " + message + "\nhint: " + hint + "\n" },
}

// written returns what a Journal writes when say has been called.
func written(format, level string, say func(*Journal)) string {
	var b strings.Builder
	j := Open(&b, format, level, words)
	say(j)
	j.Close()
	return b.String()
}

func everything(j *Journal) {
	j.Say("listening on %s", "here")
	j.Warn("100%% full")
	j.Log.Info("not logged at this level")
	j.Log.Error("request", "status", 400)
	j.Fail("out of luck", "try again")
	j.Fail("again", "")
}

func TestText(t *testing.T) {
	got := strings.Split(written("text", "error", everything), "\n")
	want := []string{"verb: listening on here", "verb: 100% full", "time=", "verb: out of luck", "hint: try again", "verb: again", "hint: ", ""}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] && (want[i] != "time=" || !strings.HasSuffix(got[i], "level=ERROR msg=request status=400")) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// In the format "json" every line is a record, whatever the level.
func TestJSON(t *testing.T) {
	type record struct {
		Level, Msg, Hint string
		Status           int
	}
	var got []record
	for line := range strings.Lines(written("json", "error", everything)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, r)
	}
	want := []record{
		{"INFO", "listening on here", "", 0}, {"WARN", "100% full", "", 0}, {"ERROR", "request", "", 400},
		{"ERROR", "out of luck", "try again", 0}, {"ERROR", "again", "", 0},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// stalled is a stderr that takes nothing until it is released.
type stalled struct{ released chan struct{} }

func (s stalled) Write(b []byte) (int, error) {
	<-s.released
	return len(b), nil
}

// Nobody waits for a reader that does not read, Close included.
func TestStderrThatNobodyReads(t *testing.T) {
	s := stalled{make(chan struct{})}
	j := Open(s, "text", "info", words)
	defer close(s.released)
	long := strings.Repeat("x", 1<<20)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			j.Say("%s", long)
			j.Log.Info(long)
			j.Log.LogAttrs(t.Context(), slog.LevelWarn, long)
			j.Fail(long, "")
		})
	}
	all.Wait() // for ever, if somebody waits
	start := time.Now()
	j.Close()
	if took := time.Since(start); took > time.Minute {
		t.Errorf("Close took %v", took)
	}
}
