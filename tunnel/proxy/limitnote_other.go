//go:build !unix

package proxy

// LimitNote returns "": there is no descriptor limit.
func (s *Server) LimitNote() string { return "" }
