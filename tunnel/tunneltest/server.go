// Package tunneltest has the peers that tests of tunnels need: targets with one
// behaviour each, and proxies that play a script, even a hostile one. All of them listen
// on loopback. It imports nothing of this module but internal/wire, so that the tests of
// all packages can use it.
package tunneltest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// TB is the part of testing.TB that this package uses.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Handler serves one accepted conn. The Server closes the conn when the Handler returns.
type Handler func(conn net.Conn)

// longest limits the life of a conn, so that a failing test ends. No handler depends on
// it.
const longest = 5 * time.Minute

// Server accepts conns and runs a Handler on each.
type Server struct {
	listener net.Listener
	handler  Handler
	running  sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

// Start starts a Server on 127.0.0.1 and closes it at the end of the test.
func Start(tb TB, handler Handler) *Server {
	tb.Helper()
	return StartOn(tb, "tcp", "127.0.0.1:0", handler)
}

// StartOn is like Start, with the network and address to listen on: "unix" and a path, or
// "tcp" and another loopback address.
func StartOn(tb TB, network, address string, handler Handler) *Server {
	tb.Helper()
	s, err := Listen(network, address, handler)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Listen is like StartOn, but for use outside a test. The caller closes the Server.
func Listen(network, address string, handler Handler) (*Server, error) {
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("tunneltest: %w", err)
	}
	s := &Server{listener: listener, handler: handler, conns: map[net.Conn]bool{}}
	s.running.Go(s.accept)
	return s, nil
}

// Addr returns HOST:PORT, or the path of a unix socket.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Port returns the port of a TCP server.
func (s *Server) Port() string {
	addr := s.Addr()
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// Close closes the listener and every conn, and waits until the handlers return.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.add(conn) {
			conn.Close()
			return
		}
		conn.SetDeadline(time.Now().Add(longest))
		s.running.Go(func() {
			defer s.remove(conn)
			s.handler(conn)
		})
	}
}

func (s *Server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[conn] = true
	}
	return !s.closed
}

func (s *Server) remove(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.Close()
	delete(s.conns, conn)
}
