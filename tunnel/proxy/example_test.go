package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"

	"culvert/tunnel/policy"
	"culvert/tunnel/proxy"
)

// A proxy that allows one target, and a client that opens tunnels through it.
func ExampleServer() {
	origin := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from the origin")
	}))
	defer origin.Close()
	allowed, err := policy.ParsePattern(origin.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}

	server := &proxy.Server{
		Policy:   policy.Policy{Allow: []policy.Pattern{allowed}},
		ErrorLog: slog.Default(), // AccessLog would have a line for each tunnel
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if err := server.CheckExposure(l); err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	client := origin.Client()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})
	reply, err := client.Get(origin.URL)
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(reply.Body)
	reply.Body.Close()
	fmt.Println(reply.Status, string(text))

	_, err = client.Get("https://www.example.com/")
	fmt.Println(errors.Unwrap(err))

	server.Close()
	fmt.Println(<-served)
	// Output:
	// 200 OK hello from the origin
	// Forbidden
	// proxy: server closed
}

// A Server is also the handler of a net/http server.
func ExampleServer_ServeHTTP() {
	server := &proxy.Server{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	web := &http.Server{Handler: server}
	go web.Serve(l)
	defer server.Close() // closes the tunnels, which web.Close does not
	defer web.Close()

	reply, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	fmt.Printf("%s", text)
	// Output: 400 Bad Request: this is a proxy, not a web server: configure it as your HTTP proxy, so that requests name the whole URL
}
