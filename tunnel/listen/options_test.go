package listen

import (
	"crypto/tls"
	"net"
	"testing"
)

// A listener takes no suite of TLS 1.2 with CBC, nor one without forward secrecy.
func TestListenerSuites(t *testing.T) {
	made, err := Options{SelfSigned: true, Hosts: []string{"127.0.0.1"}}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for suite, taken := range map[uint16]bool{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: true,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: false, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: false,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256: false, tls.TLS_RSA_WITH_AES_128_GCM_SHA256: false,
	} {
		near, far := net.Pipe()
		go func() {
			server := tls.Server(far, made.config)
			_ = server.Handshake()
			server.Close()
		}()
		client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		err := client.Handshake()
		if (err == nil) != taken {
			t.Errorf("%s: %v, want taken %v", tls.CipherSuiteName(suite), err, taken)
		}
		near.Close()
	}
}
