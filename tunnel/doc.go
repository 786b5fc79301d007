// Package tunnel carries TCP streams under HTTP proxies. It has three nouns:
// a Server is a forward proxy, a Client opens tunnels through proxies, a Prober
// shows the CONNECT exchange with any proxy and judges it.
//
// # The flow, and the file of each stage
//
// A Server's request passes these stages; the spine, serveConnect in
// connect.go, names them one per line:
//
//	listener        listen.go      where it listens, and who may reach it
//	   │            server.go      accept, books, life; shutdown.go: drain
//	   │            socket_linux.go, socketlisten_linux.go,
//	   │            socketdial_linux.go: connections that keep out of Go's
//	   │            poller while nobody waits; workers.go: who serves them
//	   ▼
//	client allowed? clientconn.go  one client connection, head by head
//	   │            servertls*.go  TLS, and where its certificate comes from
//	   │            serverh2.go, internal/h2: HTTP/2, a request per stream;
//	   │            servehttp.go: requests of a foreign net/http server
//	   ▼
//	head            internal/wire  bounded, strict, exact bytes
//	   ▼            authority.go   the target, parsed once
//	verify user     verify.go      credentials → user; users.go: htpasswd
//	   ▼
//	policy (name)   policy.go      pattern.go, policyindex.go: HOST[:PORTS]
//	   │            judge.go       the order of all this, once; each address
//	   ▼            limits.go      a slot among the open tunnels
//	resolve         dialer.go      once; then Happy Eyeballs over
//	policy (each)   addrclass.go   the addresses that passed
//	connect         reach.go       dialer.go, or parents.go: through the Client,
//	   │                           as a rule of via.go has it
//	   ▼
//	reply 2xx       http1.go       accept, per protocol version; refusals: reply.go
//	   ▼
//	relay           relay.go       both conns are given away
//	   │            relay_loops_linux.go, internal/splice: event loops for
//	   │            plain sockets; relay_copy.go, relay_linux.go: goroutines
//	   ▼
//	record          record.go      the access log's lines; linewriter.go:
//	                               written a few milliseconds' worth at a time
//
// A request that is no CONNECT leaves the flow after the head:
//
//	forwarder.go    what forwards it, and what that needs of the Server, which
//	                forwardhost.go gives
//	plain.go        absolute-form in, judged as above, origin-form out;
//	                plainconn.go: what a client's requests share;
//	                plainwire.go: answers as HTTP/1 has them, serverh2_plain.go
//	                as HTTP/2 has them
//	requestbody.go  the request's content on its way from the client
//	transport.go    connections to origins and parents; connauth.go: those of
//	                one client alone
//	respond.go      the reply, framed anew; hopbyhop.go, replyoptions.go: what
//	                stays behind
//	clientwatch.go  a client that leaves while it waits; hasended_unix.go: a
//	                kept connection whose other end left; silence.go: bytes
//	                that are owed and do not come
//	upgrade.go      a change of protocol becomes a tunnel
//	maxforwards.go  TRACE and OPTIONS that end here
//
// A Client's tunnel:
//
//	proxyenv.go     which proxy, and why        credentials.go
//	alternatives.go one route after the other
//	route.go        the hops                    target.go: what a person types
//	client.go       a way for each tunnel       way.go: hop by hop
//	dialer.go       resolve and connect         clientshare.go: or share
//	clienttls.go    TLS with a proxy, or with the target inside the tunnel;
//	                clienttlserror.go: why there is none
//	openproxy.go    or a proxy that is asked nothing; proxylogin.go: its
//	                login, for who writes the requests
//	handshake.go    CONNECT and its reply       refusal.go, proxystatus.go, content.go
//	socks.go        the same, in SOCKS; socksmessage.go: what was said, in words
//	login.go        answers to a 407            challenge.go, login_digest.go,
//	                                            login_ntlm.go, login_negotiate.go
//	clienth2.go     the same over HTTP/2        clientframes.go: for who watches
//	conn.go         the open tunnel
//	stdio.go        relayed to standard input and output
//	fdpass.go       or handed over to another process; fdpassrelay_unix.go:
//	                or a socket to one that relays
//	explain.go      a failure in one sentence and a hint; explainanswer.go,
//	                explaincredentials.go, explainsilence.go, explaintls.go
//
// A Prober is a Client that is watched:
//
//	series.go → prober.go → recording.go, Exchange → checks.go, checkstls.go, checksh2.go,
//	verdict.go → assemble.go, timeline.go → report.go, reporttls.go, reportsocks.go:
//	JSON; reporttext.go, reporttimeline.go: text, dressed and folded by package terminal;
//	segments.go: what each read brought; transcript.go, transcripth2.go: for
//	tunneltest to play back; tlstry.go: does it want TLS?
//	interception.go, interceptiontries.go: who speaks TLS?
//	interceptionevidence.go, interceptionjudge.go, publicroots.go, interceptiontext.go
//
// sfcheck.go knows the syntax of Proxy-Status;
// mask.go keeps credentials out of what is shown, wirebytes.go escapes the rest.
//
// # Other packages
//
//	internal/wire   the one head reader, strict for serve, tolerant for dial
//	internal/h2     HTTP/2's connections and streams, both sides
//	internal/page   what proxies send as content, and which product sent it
//	internal/neterr, internal/certwords
//	                errors of connections told apart; certificates in words
//	terminal        colours, and lines broken to a width
//	kerberos        tokens of the Negotiate scheme, from tickets
//	pac             routes from a proxy auto-config script, or PAC file
//	audit           the conformance suite of probe --audit, and its surveys
//	cli/args        the mechanism of the command line: flags, help, completion
//	cli/route       the flags of dial and probe that name the route
//	cli/probe       the flags of probe alone, its audit, --count and progress
//	cli/serve       the flags of serve
//	tunneltest      scripted proxies and targets for tests
//
// # Failures
//
// Every failure is an *Error. One table, in errors.go, gives its HTTP status,
// Proxy-Status token (RFC 9209), log word and exit code.
package tunnel
