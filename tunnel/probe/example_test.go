package probe_test

import (
	"context"
	"fmt"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/probe"
	"culvert/tunnel/tunneltest"
)

// A proxy refuses in a way of its own. The verdict says what that means, and the
// findings what is wrong with the reply.
func ExampleProber() {
	proxy, err := tunneltest.ListenProxy(tunneltest.ReadHead,
		tunneltest.Send("HTTP/1.0 403 Forbidden\r\nServer: old\nContent-Length: 8\r\n\r\nnot here"), tunneltest.Finish)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close()
	route, err := tunnel.ParseHops([]string{"http://" + proxy.Addr()})
	if err != nil {
		fmt.Println(err)
		return
	}
	target, err := tunnel.ParseTarget("example.com:22")
	if err != nil {
		fmt.Println(err)
		return
	}
	prober := probe.Prober{Client: &client.Client{Route: route}}
	report, err := prober.Probe(context.Background(), target)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Verdict.Words, "-> exit code", report.Verdict.ExitCode)
	for _, f := range report.Findings {
		if f.Grade == probe.Warn || f.Grade == probe.Fail {
			fmt.Println(f.Grade, f.ID, f.RFC)
		}
	}
	// Output:
	// denied by policy (403 Forbidden: not here) -> exit code 6
	// fail bare-lf RFC 9112, section 2.2
	// warn http-version RFC 9110, section 6.2
	// warn proxy-status RFC 9209, section 2
}
