package proxytest

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"culvert/tunnel/internal/testkit"
)

// AccessLog parses a Server's access log as it is written.
type AccessLog struct {
	Records chan Record
	mu      sync.Mutex
	text    bytes.Buffer
}

// Record is one line of the access log.
type Record map[string]any

func NewAccessLog() *AccessLog { return &AccessLog{Records: make(chan Record, 4096)} }

func (l *AccessLog) Logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// Write takes one line: that is how slog's handlers write.
func (l *AccessLog) Write(b []byte) (int, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.text.Write(b)
	l.mu.Unlock()
	l.Records <- r
	return len(b), nil
}

// String returns all that was written.
func (l *AccessLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *AccessLog) Next(tb testing.TB, event string) Record {
	tb.Helper()
	patience := time.After(testkit.Patience)
	for {
		select {
		case r := <-l.Records:
			if r["msg"] == event {
				return r
			}
		case <-patience:
			tb.Fatalf("there is no record %q among:\n%s", event, l)
		}
	}
}

func (r Record) Text(key string) string {
	s, _ := r[key].(string)
	return s
}

func (r Record) Want(tb testing.TB, key, value string) {
	tb.Helper()
	if got := r.Text(key); got != value {
		tb.Errorf("the record's %s is %q, want %q: %v", key, got, value, r)
	}
}

func (r Record) WantNumber(tb testing.TB, key string, value int) {
	tb.Helper()
	if got, ok := r[key].(float64); !ok || got != float64(value) {
		tb.Errorf("the record's %s is %v, want %d: %v", key, r[key], value, r)
	}
}

// WantAbsent checks that the record does not have the keys.
func (r Record) WantAbsent(tb testing.TB, keys ...string) {
	tb.Helper()
	for _, key := range keys {
		if value, ok := r[key]; ok {
			tb.Errorf("the record has %s=%v: %v", key, value, r)
		}
	}
}
