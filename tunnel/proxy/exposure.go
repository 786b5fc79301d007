package proxy

import (
	"fmt"
	"net"
	"strings"

	"culvert/tunnel/listen"
	"culvert/tunnel/policy"
)

// CheckExposure returns an error if a Server that serves l would be an open proxy.
// The address that l has bound counts. A loopback listener and a unix socket are
// their user's own; any other needs credentials, client certificates, or client
// networks that together are no more than half of the Internet.
func (s *Server) CheckExposure(l net.Listener) error {
	if !listen.BeyondThisMachine(l) {
		return nil
	}
	if s.Verifier != nil || listen.VerifiesClients(l) || s.restrictsClients() {
		return nil
	}
	return fmt.Errorf("%s would be an open proxy: anyone who reaches it could use it", listen.URL(l))
}

func (s *Server) restrictsClients() bool {
	return len(s.AllowClient) > 0 && !policy.CoversMostOfInternet(s.AllowClient)
}

// Summary returns four lines for people: which clients may reach which targets and
// addresses through l, and by which route. It fixes what the Server derives from the
// process's limits, unless Serve has done so before.
func (s *Server) Summary(l net.Listener) []string {
	s.init()
	targets, addresses := s.policyFor(l).Describe()
	return []string{
		"clients: " + s.describeClients(l),
		"targets: " + targets,
		"addresses: " + addresses + s.describeJudge(),
		"route: " + s.describeRoutes(),
	}
}

func (s *Server) describeClients(l net.Listener) string {
	who := "anyone who reaches the listener"
	tcp, isTCP := l.Addr().(*net.TCPAddr)
	switch {
	case !isTCP:
		who = "this user, by the socket's mode 0600"
	case s.AllowClient != nil:
		nets := make([]string, len(s.AllowClient))
		for i, p := range s.AllowClient {
			nets[i] = p.String()
		}
		who = "from " + strings.Join(nets, ", ")
	case tcp.IP.IsLoopback():
		who = "anyone on this machine"
	}
	switch certificate := listen.VerifiesClients(l); {
	case certificate && s.Verifier != nil:
		who += ", with a client certificate or user name and password"
	case certificate:
		who += ", with a client certificate"
	case s.Verifier != nil:
		who += ", with user name and password"
	}
	return who
}

func (s *Server) describeRoutes() string {
	if len(s.Via) == 0 {
		return "direct"
	}
	rules := make([]string, len(s.Via))
	for i, r := range s.Via {
		rules[i] = r.String()
	}
	if s.Via[len(s.Via)-1].Pattern != nil {
		rules = append(rules, "else direct")
	}
	return strings.Join(rules, "; ")
}

// describeJudge names the parents that judge addresses themselves.
func (s *Server) describeJudge() string {
	var parents []string
	for _, rule := range s.Via {
		for _, r := range rule.routes() {
			if !r.Direct() {
				parents = append(parents, r.String())
			}
		}
	}
	if parents == nil || s.ViaResolve {
		return ""
	}
	return "; addresses behind " + strings.Join(parents, ", ") + " are the parent's to judge"
}
