package tunnel_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// A tunnel is a net.Conn: what can be dialled through one takes DialContext.
func ExampleClient_DialContext() {
	proxy, err := tunneltest.ListenProxy(tunneltest.Honest()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer proxy.Close()
	origin, err := tunneltest.ListenProxy(tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")...)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer origin.Close()

	route, err := tunnel.ParseRoute("http://user:password@" + proxy.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	through := &tunnel.Client{Route: route, Timeout: 10 * time.Second}
	client := http.Client{Transport: &http.Transport{DialContext: through.DialContext, DisableKeepAlives: true}}
	res, err := client.Get("http://" + origin.Addr() + "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	io.Copy(os.Stdout, res.Body)
	// Output: hello
}

// Explain says what went wrong as the command does.
func ExampleExplain() {
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
	client := &tunnel.Client{Route: route}
	_, err = client.Open(context.Background(), target)
	sentence, hint := tunnel.Explain(err)
	fmt.Println(strings.ReplaceAll(sentence, proxy.Addr(), "proxy.corp:3128"))
	fmt.Println("hint:", hint)
	fmt.Println("exit code:", tunnel.ExitCode(err))
	// Output:
	// proxy proxy.corp:3128 refused example.com:22: 403 Forbidden (port 22 is closed here)
	// hint: ask the proxy's administrator to allow port 22, or use an ssh server that listens on 443
	// exit code: 6
}

// A Stdio is what the command is for ssh. Here it carries a line to a target
// that counts, and half-closes, and the count comes back.
func ExampleStdio() {
	target, err := tunneltest.Listen("tcp", "127.0.0.1:0", tunneltest.Count)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer target.Close()
	authority, err := tunnel.ParseTarget(target.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	direct := &tunnel.Client{}
	conn, err := direct.Open(context.Background(), authority)
	if err != nil {
		fmt.Println(err)
		return
	}
	stdio := tunnel.Stdio{Conn: conn, In: strings.NewReader("a line\n"), Out: os.Stdout}
	result, err := stdio.Relay()
	fmt.Println(result.Up, result.Down, err)
	// Output:
	// 7 bytes
	// 7 8 <nil>
}
