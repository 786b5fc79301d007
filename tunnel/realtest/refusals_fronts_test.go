//go:build unix

package realtest

import (
	"path/filepath"
	"strings"
	"testing"

	"culvert/tunnel/tunneltest"
)

// behind is the proxy that one of those below passes its clients on to.
func behind(t *testing.T, r rules, start func(*testing.T, rules) string) (address string) {
	if r.orphan {
		return tunneltest.Unused(t)
	}
	r.bars = false
	return start(t, r)
}

// startRefusingNghttpx starts nghttpx in clear before serve. It has no rule
// about clients, but passes on what serve says of them.
func startRefusingNghttpx(t *testing.T, r rules) string {
	back, front := "", "127.0.0.1:"+freePort(t)
	if back = tunneltest.Unused(t); !r.orphan {
		back = startRefusingServe(t, r)
	}
	background(t, needs(t, "nghttpx")[0], "--conf=/dev/null", "--frontend="+strings.Replace(front, ":", ",", 1)+";no-tls",
		"--backend="+strings.Replace(back, ":", ",", 1), "--http2-proxy", "--workers=1", "--errorlog-file="+filepath.Join(t.TempDir(), "error.log"))
	accepts(t, front)
	return front
}

// startRefusingCntlm starts cntlm before serve, whose login is not NTLM's, so
// that no login is right. It tries its parent first, and would go direct itself
// to what NoProxy names.
func startRefusingCntlm(t *testing.T, r rules) string {
	port, lines := freePort(t), ""
	if r.bars {
		lines = "Allow 10.0.0.1\nDeny 0/0\n"
	}
	config := write(t, filepath.Join(t.TempDir(), "cntlm.conf"), "Username ada\nDomain corp\nPassword babbage\nAuth NTLM\nListen 127.0.0.1:"+port+
		"\nProxy "+behind(t, r, startRefusingServe)+"\n"+lines)
	background(t, needs(t, "cntlm")[0], "-f", "-c", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// startRefusingHaproxy starts haproxy over TLS before tinyproxy.
func startRefusingHaproxy(t *testing.T, r rules) string {
	back, dir, port := behind(t, r, startRefusingTinyproxy), t.TempDir(), freePort(t)
	own, rule := issue(t, nil, "haproxy", tomorrow()), ""
	if r.bars {
		rule = "  http-request deny if { src 127.0.0.1 }\n"
	}
	pem := write(t, filepath.Join(dir, "both.pem"), contents(own.cert)+contents(own.pem))
	config := write(t, filepath.Join(dir, "haproxy.cfg"), "defaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n  retries 0\n"+
		"listen front\n  bind 127.0.0.1:"+port+" ssl crt "+pem+"\n"+rule+"  server back "+back+"\n")
	background(t, needs(t, "haproxy")[0], "-db", "-f", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// startRefusingStunnel starts stunnel over TLS before tinyproxy; to bar a client it
// wants a certificate.
func startRefusingStunnel(t *testing.T, r rules) string {
	back, dir, port := behind(t, r, startRefusingTinyproxy), t.TempDir(), freePort(t)
	own, rule := issue(t, nil, "stunnel", tomorrow()), ""
	if r.bars {
		rule = "verifyChain = yes\nCAfile = " + own.cert + "\n"
	}
	config := write(t, filepath.Join(dir, "stunnel.conf"), "foreground = yes\npid =\nsyslog = no\n[front]\naccept = 127.0.0.1:"+port+
		"\nconnect = "+back+"\ncert = "+own.cert+"\nkey = "+own.pem+"\n"+rule)
	background(t, needs(t, "stunnel4")[0], config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func startRefusingMicrosocks(t *testing.T, r rules) string {
	port := freePort(t)
	arg := []string{"-i", "127.0.0.1", "-p", port}
	if r.asks {
		arg = append(arg, "-u", "ada", "-P", "lovelace")
	}
	nameless(t, needs(t, "microsocks")[0], arg...)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func startRefusingDante(t *testing.T, r rules) string {
	port, action := freePort(t), "pass"
	if r.bars {
		action = "block"
	}
	config := write(t, filepath.Join(t.TempDir(), "danted.conf"), `logoutput: stderr
internal: 127.0.0.1 port = `+port+`
external: 127.0.0.1
socksmethod: none
clientmethod: none
timeout.connect: 1
user.notprivileged: nobody
client `+action+` { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 25 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`)
	nameless(t, needs(t, "danted")[0], "-f", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}
