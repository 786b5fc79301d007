// Package testkit holds what the tests of several packages share: connections and targets,
// certificates, resolvers, scripted SOCKS and login proxies, and waiting for events.
//
// Only tests import it. It imports no package above tunnel except tunneltest, so that the
// tests of every package can use it; packages below tunnel use it from external tests. A
// helper that fails does so by its testing.TB.
package testkit
