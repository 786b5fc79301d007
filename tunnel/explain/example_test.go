package explain_test

import (
	"context"
	"fmt"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/explain"
	"culvert/tunnel/tunneltest"
)

// The sentence, the hint and the exit code are those of the command.
func ExampleError() {
	proxy, err := tunneltest.ListenProxy(tunneltest.Answer("HTTP/1.1 403 Forbidden\r\n\r\nport 22 is closed here")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close()

	route, err := tunnel.ParseRoute(proxy.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	target, err := tunnel.ParseTarget("example.com:22")
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &client.Client{Route: route}
	_, err = client.Open(context.Background(), target)
	sentence, hint := explain.Error(err)
	fmt.Println(strings.ReplaceAll(sentence, proxy.Addr(), "proxy.corp:3128"))
	fmt.Println("hint:", hint)
	fmt.Println("exit code:", tunnel.ExitCode(err))
	// Output:
	// proxy proxy.corp:3128 refused example.com:22: 403 Forbidden (port 22 is closed here)
	// hint: ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443
	// exit code: 6
}
