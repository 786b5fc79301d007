package tunnel

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// accessLog parses a Server's access log as it is written.
type accessLog struct {
	records chan record
	mu      sync.Mutex
	text    bytes.Buffer
}

// record is one line of the access log.
type record map[string]any

func newAccessLog() *accessLog { return &accessLog{records: make(chan record, 4096)} }

func (l *accessLog) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// Write takes one line: that is how slog's handlers write.
func (l *accessLog) Write(b []byte) (int, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.text.Write(b)
	l.mu.Unlock()
	l.records <- r
	return len(b), nil
}

// String returns all that was written.
func (l *accessLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *accessLog) next(tb testing.TB, event string) record {
	tb.Helper()
	patience := time.After(testPatience)
	for {
		select {
		case r := <-l.records:
			if r["msg"] == event {
				return r
			}
		case <-patience:
			tb.Fatalf("there is no record %q among:\n%s", event, l)
		}
	}
}

func (r record) text(key string) string {
	s, _ := r[key].(string)
	return s
}

func (r record) want(tb testing.TB, key, value string) {
	tb.Helper()
	if got := r.text(key); got != value {
		tb.Errorf("the record's %s is %q, want %q: %v", key, got, value, r)
	}
}

func (r record) wantNumber(tb testing.TB, key string, value int) {
	tb.Helper()
	if got, ok := r[key].(float64); !ok || got != float64(value) {
		tb.Errorf("the record's %s is %v, want %d: %v", key, r[key], value, r)
	}
}

// wantAbsent checks that the record does not have the keys.
func (r record) wantAbsent(tb testing.TB, keys ...string) {
	tb.Helper()
	for _, key := range keys {
		if value, ok := r[key]; ok {
			tb.Errorf("the record has %s=%v: %v", key, value, r)
		}
	}
}
