package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/tunneltest"
)

// A tunnel is a net.Conn: DialContext opens one to a target, through a proxy for which
// the route has credentials.
func ExampleClient_DialContext() {
	proxy, err := tunneltest.ListenProxy(tunneltest.Honest()...)
	if err != nil {
		log.Fatal(err)
	}
	defer proxy.Close()
	target, err := tunneltest.Listen("tcp", "127.0.0.1:0", tunneltest.Greet("220 mail.example ready\r\n"))
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()

	route, err := tunnel.ParseRoute("http://user:password@" + proxy.Addr())
	if err != nil {
		log.Fatal(err)
	}
	c := &client.Client{Route: route, Timeout: 10 * time.Second}
	conn, err := c.DialContext(context.Background(), "tcp", target.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	greeting := make([]byte, len("220 mail.example ready"))
	if _, err := io.ReadFull(conn, greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", greeting)
	// Output: 220 mail.example ready
}

// An http.Transport whose connections are tunnels.
func ExampleClient_DialContext_httpTransport() {
	proxy, err := tunneltest.ListenProxy(tunneltest.Honest()...)
	if err != nil {
		log.Fatal(err)
	}
	defer proxy.Close()
	origin, err := tunneltest.ListenProxy(tunneltest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")...)
	if err != nil {
		log.Fatal(err)
	}
	defer origin.Close()

	route, err := tunnel.ParseRoute("http://" + proxy.Addr())
	if err != nil {
		log.Fatal(err)
	}
	through := &client.Client{Route: route}
	transport := &http.Transport{DialContext: through.DialContext}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	res, err := web.Get("http://" + origin.Addr() + "/")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(os.Stdout, res.Body); err != nil {
		log.Fatal(err)
	}
	// Output: hello
}

// A failure says which proxy refused, and how.
func ExampleClient_Open_refused() {
	proxy, err := tunneltest.ListenProxy(tunneltest.Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nnot for us")...)
	if err != nil {
		log.Fatal(err)
	}
	defer proxy.Close()

	route, err := tunnel.ParseRoute("http://" + proxy.Addr())
	if err != nil {
		log.Fatal(err)
	}
	target, err := tunnel.ParseTarget("example.com:22")
	if err != nil {
		log.Fatal(err)
	}
	c := &client.Client{Route: route}
	_, err = c.Open(context.Background(), target)
	var failure *tunnel.Error
	if errors.As(err, &failure) && failure.Hop == proxy.Addr() {
		fmt.Println("the proxy answered", failure.Status, "for", failure.Target)
		fmt.Println(failure.Type, "-", failure.Detail)
		fmt.Println("exit code", tunnel.ExitCode(err))
	}
	// Output:
	// the proxy answered 403 for example.com:22
	// http_request_denied - not for us
	// exit code 6
}
