package dial

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
	"culvert/tunnel/client"
	"culvert/tunnel/stdio"
)

// Stats is the line that --stats prints, as one JSON object. A nil Stats prints nothing.
type Stats struct {
	Target     tunnel.Authority `json:"target"`
	Via        string           `json:"via,omitempty"`  // the route taken; "" = direct
	Addr       string           `json:"addr,omitempty"` // the address connected to
	Up         int64            `json:"up"`
	Down       int64            `json:"down"`
	OpenMS     float64          `json:"open_ms"` // until the tunnel was open or had failed
	DurationMS float64          `json:"duration_ms"`
	Exit       int              `json:"exit"`
	Error      string           `json:"error,omitempty"`

	out     *os.File
	started time.Time
}

// NewStats returns the Stats for --stats and --stats-fd, nil if neither is given. The
// time begins to run.
func NewStats(flags *args.Values, target tunnel.Authority) (*Stats, error) {
	s := &Stats{Target: target, out: os.Stderr, started: time.Now(), OpenMS: -1}
	if flags.IsSet("stats-fd") {
		s.out = os.NewFile(uintptr(flags.Int("stats-fd")), "descriptor")
		if s.out == nil {
			return nil, args.Usagef("as in --stats-fd 3 3>FILE", "--stats-fd: a descriptor is 0 or more")
		}
		if _, err := s.out.Stat(); err != nil {
			return nil, args.Usagef("as in --stats-fd 3 3>FILE", "--stats-fd: descriptor %d is not open", flags.Int("stats-fd"))
		}
	} else if !flags.Bool("stats") {
		return nil, nil
	}
	return s, nil
}

// milliseconds returns the time since NewStats.
func (s *Stats) milliseconds() float64 {
	return float64(time.Since(s.started).Microseconds()) / 1000
}

// Opened records that the tunnel is open.
func (s *Stats) Opened(conn *client.Conn) {
	if s == nil {
		return
	}
	s.OpenMS = s.milliseconds()
	if r := conn.Route(); !r.Direct() {
		s.Via = r.String()
	}
	if addr := conn.NextHop(); addr.IsValid() {
		s.Addr = addr.String()
	}
}

// Moved records how many bytes went through the tunnel.
func (s *Stats) Moved(r stdio.Result) {
	if s != nil {
		s.Up, s.Down = r.Up, r.Down
	}
}

// Write writes the line, with the exit code and the message of the error, if there was
// one.
func (s *Stats) Write(exit int, why string) error {
	if s == nil {
		return nil
	}
	s.Exit, s.Error, s.DurationMS = exit, why, s.milliseconds()
	if s.OpenMS < 0 {
		s.OpenMS = s.DurationMS
	}
	line, err := json.Marshal(s)
	if err == nil {
		_, err = s.out.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("--stats: %w", err)
	}
	return nil
}
