// Package proxy is a forward proxy: a [Server] opens CONNECT tunnels (RFC 9110,
// section 9.3.6) and forwards plain HTTP requests.
//
// What it promises: every request passes the same checks in the same order,
// whichever protocol version it came in; the policy's verdict on an address holds
// for the address that is connected to; every request and every tunnel has its
// line in the access log; and Shutdown and Close return when nothing is left.
//
// # The way of a CONNECT
//
// In the order in which a reader meets the files:
//
//	server.go      Serve accepts a connection
//	workers.go     a goroutine serves it
//	clientconn.go  may this client use the proxy at all? TLS: tls.go
//	h1.go          the request head becomes a connectRequest; h2.go, handler.go:
//	               in the other protocol versions
//	connect.go     serveConnect, which calls the stages that follow
//	check.go       who asks (verify.go and users.go; attempts to log in wait for
//	               their turn in package turns), is it a loop, is the target
//	               allowed (policy.go; renew.go: by rules that were read again)
//	limits.go      what the client may hold: a tunnel, and descriptors, which are
//	               counted in package quota
//	dial.go        directly, or through other proxies (parents.go); leaving.go: not
//	               for a client that has gone meanwhile
//	tunnel.go      the log's line, the relay, and the log's line at its end
//
// Requests other than CONNECT leave this way behind the head: package forward
// carries them, and asks the checks and dial.go through host.go.
//
// # Another protocol version
//
// A protocol version is an adapter of a page or two. For a CONNECT it makes a
// connectRequest, which says how the client is refused or accepted, and gives it
// to the spine; for any other request it implements forward.Wire. The relay gets two
// conns, and knows no protocol version. h1.go, h2.go with h2_forward.go, and
// handler.go are the adapters there are. A server in another package that calls an
// http.Handler needs no adapter: a Server is one (see [Server.ServeHTTP]). Records
// and Via then have HTTP/2 for every version above 1.
//
// The package never imports what presents results to people: probe, explain,
// terminal, stdio.
package proxy
