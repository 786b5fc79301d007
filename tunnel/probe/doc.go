// Package probe examines the way to a target through proxies. A Prober opens one
// tunnel, records every byte and the time of every step, and returns a Report: the
// exchanges with the proxies, a timeline, a finding for each check against the
// RFCs, and a Verdict. A Series probes again and again, and sums up the times and
// the failures.
//
// The same Report is written as text, JSON, a hexadecimal dump, or a transcript for
// tunneltest to replay. In all of them credentials are masked, and whatever a proxy
// sent is escaped. What a proxy does wrong is never an error of this package.
//
// It drives a client.Client, leaves sentences and hints to package explain, and
// knows no flags and no terminal. It never imports package proxy.
package probe
