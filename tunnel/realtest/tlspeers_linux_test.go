package realtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/listen"
)

// This file measures serve over TLS and HTTP/2 beside nghttpx and beside a
// proxy as Go's standard library makes one. Each is a process of its own; what
// counts is that process's CPU time and memory. nghttpx passes CONNECT on to a
// culvert that is not counted.
//
//	go test -run '^$' -bench 'OverTLS' -benchtime 3000x ./tunnel/realtest

// tlsPeer is a proxy that is measured.
type tlsPeer struct {
	name  string
	start func(b *testing.B, cert, key string) *measured
}

// measured is a running proxy.
type measured struct {
	pid     int
	address string // of its TLS port
}

var tlsPeers = []tlsPeer{
	{"culvert", startMeasuredServe},
	{"nghttpx", startMeasuredNghttpx},
	{"net-http", startMeasuredNetHTTP},
}

func startMeasuredServe(b *testing.B, cert, key string) *measured {
	p := startProxy(b, []string{culvertAsUsed(b)}, "--listen", "https://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	return &measured{p.pid, announced(b, p.errs, "listening on https://")}
}

func startMeasuredNghttpx(b *testing.B, cert, key string) *measured {
	path, err := exec.LookPath("nghttpx")
	if err != nil {
		b.Skip("nghttpx is not installed")
	}
	next := startProxy(b, []string{culvertAsUsed(b)})
	address := "127.0.0.1:" + freePort(b)
	host, port, _ := net.SplitHostPort(address)
	nextHost, nextPort, _ := net.SplitHostPort(next.addr)
	dir := b.TempDir()
	cmd := exec.Command(path, "--conf=/dev/null", "--frontend="+host+","+port, "--backend="+nextHost+","+nextPort, "--http2-proxy", "--workers=2",
		"--accesslog-file="+filepath.Join(dir, "access.log"), "--errorlog-file="+filepath.Join(dir, "error.log"),
		"--backend-connections-per-host=20000", "--backend-connections-per-frontend=0", key, cert)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	accepts(b, address)
	return &measured{cmd.Process.Pid, address}
}

func startMeasuredNetHTTP(b *testing.B, cert, key string) *measured {
	j := startJob(b, "net-http", cert, key)
	return &measured{j.cmd.Process.Pid, j.line()}
}

// netHTTPJob is a CONNECT proxy as net/http makes one, by Hijack and, over
// HTTP/2, by a ResponseWriter that is flushed.
func netHTTPJob(cert, key string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(serveNetHTTP)}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	return server.ServeTLS(listener, cert, key)
}

func serveNetHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer target.Close()
	if r.ProtoMajor == 1 {
		client, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(target, buffered)
			target.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(client, target)
		return
	}
	w.WriteHeader(http.StatusOK)
	flush := w.(http.Flusher).Flush
	flush()
	go func() {
		io.Copy(target, r.Body)
		target.(*net.TCPConn).CloseWrite()
	}()
	for buf := make([]byte, 32<<10); ; flush() {
		n, err := target.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cpu is what the process and its children have used, in seconds.
func (m *measured) cpu(b *testing.B) (seconds float64) {
	for _, pid := range m.family(b) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		seconds += (user + system) / 100 // USER_HZ
	}
	return seconds
}

// memory is the proportional set size of the process and its children, in KiB.
func (m *measured) memory(b *testing.B) (kib float64) {
	for _, pid := range m.family(b) {
		text, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		_, rest, _ := strings.Cut(string(text), "\nPss:")
		if fields := strings.Fields(rest); len(fields) > 0 {
			n, _ := strconv.ParseFloat(fields[0], 64)
			kib += n
		}
	}
	return kib
}

func (m *measured) family(b *testing.B) []string {
	self := strconv.Itoa(m.pid)
	children, err := os.ReadFile("/proc/" + self + "/task/" + self + "/children")
	if err != nil {
		b.Fatal(err)
	}
	return append(strings.Fields(string(children)), self)
}

// tlsClients are ways to open tunnels: over HTTP/1.1 with a TLS connection
// each, or over HTTP/2 on one connection.
var tlsClients = []struct {
	name string
	make func(b *testing.B, m *measured) (open func(target string) (net.Conn, error))
}{
	{"http1", func(b *testing.B, m *measured) func(string) (net.Conn, error) {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
		return func(target string) (net.Conn, error) {
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: bound}, "tcp", m.address, config)
			if err != nil {
				return nil, err
			}
			if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
				return nil, err
			}
			reply, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
			if err == nil && reply.StatusCode != http.StatusOK {
				err = fmt.Errorf("the answer is %s", reply.Status)
			}
			return conn, err
		}
	}},
	{"http2", func(b *testing.B, m *measured) func(string) (net.Conn, error) {
		hop, err := tunnel.ParseHop("h2://" + m.address)
		if err != nil {
			b.Fatal(err)
		}
		hop.TLS = &tunnel.TLSOptions{Insecure: true}
		client := &client.Client{Route: tunnel.Route{Hops: []tunnel.Hop{hop}}}
		b.Cleanup(func() { client.CloseIdleConnections() })
		return func(target string) (net.Conn, error) { return client.DialContext(context.Background(), "tcp", target) }
	}},
}

// eachOverTLS runs bench for every proxy and every client.
func eachOverTLS(b *testing.B, bench func(b *testing.B, m *measured, open func(string) (net.Conn, error))) {
	cert, key := throwAwayPair(b)
	for _, client := range tlsClients {
		for _, peer := range tlsPeers {
			b.Run(client.name+"/"+peer.name, func(b *testing.B) {
				m := peer.start(b, cert, key)
				bench(b, m, client.make(b, m))
			})
		}
	}
}

// throwAwayPair writes a certificate and its key to files.
func throwAwayPair(b *testing.B) (cert, key string) {
	pair, _, err := listen.SelfSigned()
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return cert, key
}

// BenchmarkTunnelOverTLS: connect, a byte each way, close; 32 at once.
func BenchmarkTunnelOverTLS(b *testing.B) {
	target := startJob(b, "echo").line()
	eachOverTLS(b, func(b *testing.B, m *measured, open func(string) (net.Conn, error)) {
		before := m.cpu(b)
		next := make(chan struct{})
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for range next {
					conn, err := open(target)
					if err == nil {
						err = talkOnce(conn)
						conn.Close()
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
		for b.Loop() {
			next <- struct{}{}
		}
		close(next)
		all.Wait()
		b.ReportMetric((m.cpu(b)-before)*1e6/float64(b.N), "cpu-µs/tunnel")
	})
}

// BenchmarkBulkOverTLS: one stream down, 64 MiB an operation.
func BenchmarkBulkOverTLS(b *testing.B) {
	const size = 64 << 20
	target := startJob(b, "source").line()
	eachOverTLS(b, func(b *testing.B, m *measured, open func(string) (net.Conn, error)) {
		conn, err := open(target)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Minute))
		b.SetBytes(size)
		before := m.cpu(b)
		for b.Loop() {
			if _, err := io.CopyN(io.Discard, onlyReader{conn}, size); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((m.cpu(b)-before)/float64(b.N)*(1<<30)/size, "cpu-s/GiB")
	})
}

// BenchmarkIdleOverTLS: 200 tunnels that are silent after a byte each way. An
// operation is a tunnel; -benchtime does not matter.
func BenchmarkIdleOverTLS(b *testing.B) {
	const tunnels = 200
	target := startJob(b, "echo").line()
	eachOverTLS(b, func(b *testing.B, m *measured, open func(string) (net.Conn, error)) {
		warm, err := open(target) // what the first connection costs is not the tunnels'
		if err != nil {
			b.Fatal(err)
		}
		defer warm.Close()
		before := m.memory(b)
		for range tunnels {
			conn, err := open(target)
			if err == nil {
				defer conn.Close()
				err = talkOnce(conn)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((m.memory(b)-before)/tunnels, "KiB/tunnel")
		b.ReportMetric(0, "ns/op")
	})
}
