package client_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
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
	through := &client.Client{Route: route, Timeout: 10 * time.Second}
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
