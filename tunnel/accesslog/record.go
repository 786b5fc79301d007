package accesslog

import (
	"context"
	"log/slog"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/internal/neterr"
	"culvert/tunnel/relay"
)

// Record is everything that is told of one tunnel or request: the access log's
// lines derive from it, and later metrics and the live table.
type Record struct {
	Start    time.Time // when the head was read
	ID       string    // unique among all processes, for joining lines
	Client   string    // the client's address and port, or "unix"
	User     string    // verified, "" = none
	Listener string    // as the listening line names it
	Protocol string    // "http/1.1", "http/1.0"
	Method   string
	Target   tunnel.Authority // zero if the request had none that could be read
	Addr     string           // the next hop's address really dialled
	Via      string           // the route, "" = direct
	Status   int              // what the client was answered; 0 = nothing
	Rule     string           // the rule that decided
	Error    tunnel.ErrorType // ErrorNone = all went well
	Detail   string           // the failure's cause in words, as the client was told
	Up, Down int64            // payload bytes client→target, target→client
	Connect  time.Duration    // from the judged request to the open next hop
	Duration time.Duration    // from the head to the end
	ClosedBy relay.ClosedBy   // tunnels only
}

// Events of the access log.
const (
	EventOpen    = "tunnel open"
	EventClose   = "tunnel close"
	EventRequest = "request" // whatever never became a tunnel
)

// level lifts refusals and failures above what went well, never below the
// default level: a denial nobody sees costs an afternoon.
func (r *Record) level() slog.Level {
	if r.Error != tunnel.ErrorNone {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Log writes the record as one line; which keys it has depends on the event.
func (r *Record) Log(l *slog.Logger, event string) {
	if l == nil {
		return
	}
	level := r.level()
	ctx := context.Background() // handlers take no part in cancellation
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
	text("addr", r.Addr)
	text("via", r.Via)
	if r.Status != 0 {
		attrs = append(attrs, slog.Int("status", r.Status))
	}
	text("rule", r.Rule)
	text("error", r.Error.String())
	text("detail", r.Detail)
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
	// Not l.LogAttrs, which looks up where in the source it was called.
	line := slog.NewRecord(time.Now(), level, event, 0)
	line.AddAttrs(attrs...)
	_ = handler.Handle(ctx, line) // the log's writer tells of its own trouble
}

// milliseconds keeps three decimals.
func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// EndTunnel fills in how a tunnel ended.
func (r *Record) SetResult(result relay.Result) {
	r.Up, r.Down, r.ClosedBy = result.Up, result.Down, result.ClosedBy
	if result.Err != nil {
		r.Error = tunnel.ErrorConnectionTerminated
	}
	r.Duration = time.Since(r.Start)
}

// Refused fills in what an Error tells.
func (r *Record) SetError(e *tunnel.Error) {
	r.Error, r.Status, r.Detail = e.Type, e.HTTPStatus(), e.Detail
	if e.Rule != "" {
		r.Rule = e.Rule
	}
}

// ClientLeft notes that the client was gone before its answer, which err told.
func (r *Record) SetClientGone(err error) {
	r.Error, r.ClosedBy = tunnel.ErrorConnectionTerminated, relay.ClosedByClient
	if neterr.Timeout(err) {
		r.Error = tunnel.ErrorConnectionReadTimeout
	}
}
