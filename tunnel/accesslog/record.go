// Package accesslog writes the access log of a proxy: one line when a tunnel opens,
// one when it closes, and one for each request that became no tunnel. A Record holds
// what is known of one tunnel or request; a LineWriter keeps a full disk, and a pipe that
// nobody reads, from holding up tunnels.
//
// The package imports nothing of this module but packages tunnel, relay and
// internal/neterr.
package accesslog

import (
	"context"
	"log/slog"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/relay"
)

// Record holds what is known of one tunnel or request. The lines of the access log
// are made from it. Fields without a value are left out of a line.
type Record struct {
	Start    time.Time // when the head was read
	ID       string    // unique among all processes; the same in all lines of a tunnel
	Client   string    // the client's address and port, or "unix"
	User     string    // verified, "" = none
	Listener string    // the URL of the listener
	Protocol string    // "http/1.1", "http/1.0", "http/2" or another name of a protocol
	Method   string
	Target   tunnel.Authority // zero if the request had none that could be parsed
	FullName string           // the name that the search list made of the target's, "" = none
	Addr     string           // the address dialled, of the target or of the next proxy
	Via      string           // the route, "" = direct
	Status   int              // of the reply to the client; 0 = none was sent
	Rule     string           // the rule of the policy that decided
	Error    tunnel.ErrorType // ErrorNone = there was no failure
	Detail   string           // the cause of the failure, in the words of the reply to the client
	Hint     string           // what the operator can do about it
	Up, Down int64            // payload bytes client→target, target→client
	Connect  time.Duration    // from the policy's decision to the connection
	Duration time.Duration    // from Start to the end of the tunnel or request
	ClosedBy relay.ClosedBy   // tunnels only
}

// The events of the access log. Each is the message of its lines.
const (
	EventOpen    = "tunnel open"
	EventClose   = "tunnel close"
	EventRequest = "request" // a request that became no tunnel
)

// level returns slog.LevelWarn for refusals and failures, else slog.LevelInfo. Both
// are at or above the default level of a log, so that no refusal goes unseen.
func (r *Record) level() slog.Level {
	if r.Error != tunnel.ErrorNone {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Log writes the record as one line to l, unless l is nil. The event is one of the
// constants; lines of EventOpen have no byte counts and no duration.
func (r *Record) Log(l *slog.Logger, event string) {
	if l == nil {
		return
	}
	level := r.level()
	ctx := context.Background() // the line is written even if the request was cancelled
	handler := l.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("id", r.ID)
	text("client", r.Client)
	text("user", r.User)
	text("listener", r.Listener)
	text("protocol", r.Protocol)
	text("method", r.Method)
	text("target", r.Target.String())
	text("full_name", r.FullName)
	text("addr", r.Addr)
	text("via", r.Via)
	if r.Status != 0 {
		attrs = append(attrs, slog.Int("status", r.Status))
	}
	text("rule", r.Rule)
	text("error", r.Error.String())
	text("detail", r.Detail)
	text("hint", r.Hint)
	if event != EventOpen {
		attrs = append(attrs, slog.Int64("up", r.Up), slog.Int64("down", r.Down))
	}
	if r.Connect > 0 {
		attrs = append(attrs, slog.Float64("connect_ms", milliseconds(r.Connect)))
	}
	if event != EventOpen {
		attrs = append(attrs, slog.Float64("duration_ms", milliseconds(r.Duration)))
	}
	text("closed_by", string(r.ClosedBy))
	// l.LogAttrs would look up the place in the source where it was called.
	line := slog.NewRecord(time.Now(), level, event, 0)
	line.AddAttrs(attrs...)
	_ = handler.Handle(ctx, line) // LineWriter reports errors
}

// milliseconds returns d in milliseconds with three decimals.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// SetResult sets the fields that say how a tunnel ended, from the result of its relay.
func (r *Record) SetResult(result relay.Result) {
	r.Up, r.Down, r.ClosedBy = result.Up, result.Down, result.ClosedBy
	if result.Err != nil {
		r.Error = tunnel.ErrorConnectionTerminated
	}
	r.Duration = time.Since(r.Start)
}

// SetError sets the fields that describe a refusal or failure before the tunnel was
// open.
func (r *Record) SetError(e *tunnel.Error) {
	r.Error, r.Status, r.Detail, r.Hint = e.Type, e.HTTPStatus(), e.Detail, e.Hint
	if e.Rule != "" {
		r.Rule = e.Rule
	}
	if e.FullName != "" {
		r.FullName = e.FullName
	}
}

// SetClientGone sets the fields for a client that ended or broke its connection
// before the reply. err is the error of reading from it.
func (r *Record) SetClientGone(err error) {
	r.Error, r.ClosedBy = tunnel.ErrorConnectionTerminated, relay.ClosedByClient
	if neterr.Timeout(err) {
		r.Error = tunnel.ErrorConnectionReadTimeout
	}
}
