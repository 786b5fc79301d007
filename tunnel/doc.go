// Package tunnel defines the types that the packages below it share: the target of a
// tunnel (Authority), the way to it (Route, Hop, Credentials, TLSOptions), and the
// reason why there is none (Error, ErrorType, the exit codes). It opens no
// connection, and imports nothing of this module but internal/wire and
// internal/neterr.
//
// culvert has three jobs, and each is a type of a package of its own:
//
//	serve   proxy.Server   a forward proxy for CONNECT and plain HTTP requests
//	dial    client.Client  opens a tunnel through one or more proxies
//	probe   probe.Prober   shows a CONNECT exchange and what is wrong with it
//
// A CONNECT request passes through a proxy.Server from top to bottom, each stage in
// the package at its right:
//
//	listener             listen: TCP or unix socket, TLS, certificates
//	client allowed?      proxy: the client's address; internal/quota: who holds what
//	head                 internal/wire for HTTP/1, internal/h2 for HTTP/2
//	verify               proxy: credentials to a user
//	policy (name)        policy: Policy.JudgeTarget
//	resolve              dialer: once
//	policy (address)     policy: Policy.JudgeAddr, for each address
//	connect              dialer, directly; client, by way of another proxy
//	2xx                  proxy: or a refusal, in the words of the Error
//	relay                relay: both ways, half-closes, limits
//	record               accesslog: one Record, one line
//
// A request with another method leaves after the head for package forward. A
// failure at any stage is an *Error; errorTable in error.go gives each ErrorType its
// HTTP status, Proxy-Status token (RFC 9209), words and exit code.
//
// The rest of the program:
//
//	logins           client, with kerberos for tickets; users of a Server: proxy
//	reports          probe and interception; explain: an Error as a sentence and a hint
//	the audit        audit, the conformance suite of probe --audit
//	the command line cli/args, and cli/serve, cli/dial, cli/probe, cli/route by set of flags;
//	                 cli/exit: how a command ends
//	dial's near end  stdio, localport
//	routes           RouteFromEnvironment here; pac: from a proxy auto-config script
package tunnel
