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

// AccessLog parses the access log of a Server while it is written.
type AccessLog struct {
	Records chan Record // in the order in which they were written
	mu      sync.Mutex
	text    bytes.Buffer
}

// Record is one line of the access log, by key.
type Record map[string]any

// NewAccessLog returns an empty AccessLog.
func NewAccessLog() *AccessLog { return &AccessLog{Records: make(chan Record, 4096)} }

// Logger returns the Logger for a Server.
func (l *AccessLog) Logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// Write parses one line, since slog's handlers write line by line.
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

// Next waits for the next record of an event, and skips those of other events.
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

// Text returns the value of a key, "" if there is none or it is not a string.
func (r Record) Text(key string) string {
	s, _ := r[key].(string)
	return s
}

// Want checks the value of a key.
func (r Record) Want(tb testing.TB, key, value string) {
	tb.Helper()
	if got := r.Text(key); got != value {
		tb.Errorf("the record's %s is %q, want %q: %v", key, got, value, r)
	}
}

// WantNumber checks the value of a key that is a number.
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
