//go:build unix

package proxy

import "fmt"

// fewDescriptors is a descriptor limit that is too low for a proxy of several users, or
// for one browser.
const fewDescriptors = 256

// LimitNote returns a warning if the descriptor limit of the process is low, or lower
// than MaxTunnels wants; "" = it is not. It fixes what Summary fixes.
func (s *Server) LimitNote() string {
	s.init()
	return limitNote(descriptorLimit(), s.MaxTunnels)
}

func limitNote(limit, tunnels int) string {
	const advice = ": raise the limit with ulimit -n, or LimitNOFILE= of systemd, or expect refusals with 503"
	switch {
	case limit == 0:
		return ""
	case 2*tunnels > limit:
		return fmt.Sprintf("%d tunnels take %d descriptors, and this process may open %d", tunnels, 2*tunnels, limit) + advice
	case limit < fewDescriptors:
		return fmt.Sprintf("this process may open %d descriptors only, of which a tunnel takes two", limit) + advice
	}
	return ""
}
