//go:build linux

package splice

import (
	"syscall"
	"time"

	"culvert/tunnel/internal/vanish"

	"golang.org/x/sys/unix"
)

// flights are the tunnels of a loop with bytes on their way to a peer, which may have
// vanished. A tunnel is in them from a write until a look finds that everything was
// acknowledged on both sides. While there are none, no timer runs.
type flights struct {
	all  []flight
	due  int64 // the loop's time of the next look; 0 = there is none
	pace vanish.Pace
}

// flight is a tunnel in flights.
type flight struct {
	*Tunnel
	ends [2]vanish.Watch
}

// takeOff adds t, which is not in the flights.
func (l *loop) takeOff(t *Tunnel) {
	f := &l.flights
	t.flight = int32(len(f.all))
	f.all = append(f.all, flight{Tunnel: t})
	if f.due == 0 {
		f.due = l.now() + int64(f.pace.Every)
	}
}

// land removes t, if it is in the flights.
func (l *loop) land(t *Tunnel) {
	if t.flight < 0 {
		return
	}
	f := &l.flights
	last := len(f.all) - 1
	f.all[t.flight] = f.all[last]
	f.all[t.flight].flight = t.flight
	f.all[last] = flight{}
	f.all = f.all[:last]
	t.flight = -1
}

// lookAtFlights looks at all flights once.
func (l *loop) lookAtFlights() {
	f, now := &l.flights, time.Duration(l.now())
	for i := len(f.all) - 1; i >= 0; i-- { // land moves only tunnels that were looked at
		t, landed := f.all[i].Tunnel, true
		for side := range t.ends {
			e := &t.ends[side]
			if e.broken {
				continue
			}
			switch f.all[i].ends[side].Look(int(e.fd), now, f.pace) {
			case vanish.Pending:
				landed = false
			case vanish.Gone:
				e.vanished = true
				l.fail(t, side, opRead, vanished)
			}
		}
		if landed {
			l.land(t)
		}
	}
	if f.due = 0; len(f.all) > 0 {
		f.due = int64(now) + int64(f.pace.Every)
	}
	if cap(f.all) > 1024 && len(f.all) < cap(f.all)/4 {
		f.all = append([]flight(nil), f.all...)
	}
}

// vanished is the error of a peer that has vanished, as that of keepalive.
const vanished = syscall.Errno(unix.ETIMEDOUT)
