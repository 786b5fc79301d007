package serve

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/listen"
)

// SelfSigned returns lines for a person that tell how clients come to trust the
// certificate of --tls-self-signed: by its pin, or by a file that it is written to, which
// the caller removes; "" = there is none. Without such a certificate there are no lines.
func SelfSigned(secure *listen.TLS, listeners []net.Listener) (lines []string, file string) {
	if secure == nil || secure.SelfSigned == nil {
		return nil, ""
	}
	var at netip.AddrPort
	for _, l := range listeners {
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && listen.SpeaksTLS(l) {
			at = tcp.AddrPort()
			break
		}
	}
	// The certificate is for localhost, and for the addresses that were given.
	proxy := "https://" + at.String()
	if at.Addr().IsUnspecified() {
		proxy = fmt.Sprintf("https://localhost:%d", at.Port())
	}
	pin := tunnel.PinOf(secure.SelfSigned).String()
	lines = []string{
		"the certificate is self-signed: its pin is " + pin,
		fmt.Sprintf("to try it: culvert dial --insecure --pin %s -x %s -- HOST PORT", pin, quoted(proxy)),
	}
	file, err := writeCertificate(secure.SelfSigned.Raw)
	if err != nil {
		return append(lines, fmt.Sprintf("curl --proxy-cacert would want it in a file, and none can be written: %v", err)), ""
	}
	curl := "curl"
	if at.Addr().Is6() && !at.Addr().IsUnspecified() {
		// curl does not know the IPv6 address of a proxy in its certificate.
		proxy = fmt.Sprintf("https://localhost:%d", at.Port())
		curl += " --resolve " + quoted(fmt.Sprintf("localhost:%d:[%s]", at.Port(), at.Addr()))
	}
	return append(lines, fmt.Sprintf("to try it: %s --proxy-cacert %s -x %s URL", curl, quoted(file), quoted(proxy))), file
}

// writeCertificate writes a certificate to a file in the folder for temporary files. The
// certificate is as short-lived as the program, and secret to nobody.
func writeCertificate(der []byte) (path string, err error) {
	f, err := os.CreateTemp("", "culvert-self-signed-*.pem")
	if err != nil {
		return "", err
	}
	err = pem.Encode(f, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// quoted quotes a word for a shell if it has anything in it that a shell might act on.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
