//go:build unix

package realtest

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func startRefusingServe(t *testing.T, r rules) string {
	address := "127.0.0.1:" + freePort(t)
	arg := []string{"serve", "--listen", address, "--allow", "*:" + r.open, "--connect-timeout", "1s"}
	if r.asks {
		arg = append(arg, "--users", htpasswdFile(t, "ada:lovelace"))
	}
	if r.bars {
		arg = append(arg, "--allow-client", "10.0.0.0/8")
	}
	nameless(t, culvert(t), arg...)
	accepts(t, address)
	return address
}

// startRefusingSquid asks a name server for names that is not there, and gives
// up after a second; what it says of names that do not exist is the same.
func startRefusingSquid(t *testing.T, r rules) string {
	lines := "connect_timeout 1 seconds\ndns_nameservers 127.0.0.1\ndns_timeout 1 seconds\ndns_retransmit_interval 1 seconds\n"
	if r.bars {
		lines += "http_access deny all\n"
	}
	if r.asks {
		lines += basicOfSquid(t) + squidAsks
	}
	return startSquid(t, lines)
}

func startRefusingTinyproxy(t *testing.T, r rules) string {
	lines := "ConnectPort " + r.open + "\nAllow 127.0.0.1\n"
	if r.bars {
		lines = "Allow 10.0.0.1\n"
	}
	if r.asks {
		lines += "BasicAuth ada lovelace\n"
	}
	port := freePort(t)
	config := write(t, filepath.Join(t.TempDir(), "tinyproxy.conf"), "Port "+port+"\nListen 127.0.0.1\nTimeout 600\n"+lines)
	nameless(t, needs(t, "tinyproxy")[0], "-d", "-c", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func startRefusingApache(t *testing.T, r rules) string {
	address, who := "127.0.0.1:"+freePort(t), "Require ip 127.0.0.0/8"
	if r.bars {
		who = "Require ip 10.0.0.1"
	}
	if r.asks {
		file := htpasswdFile(t, "ada:lovelace")
		readable(file)
		who = "AuthType Basic\nAuthName apache\nAuthUserFile " + file + "\nRequire valid-user"
	}
	startApache(t, address, " proxy proxy_http proxy_connect", "ProxyRequests On\nProxyTimeout 1\nAllowCONNECT "+r.open+"\n<Proxy \"*\">\n"+who+"\n</Proxy>\n")
	return address
}

// startApache starts a web server, with further modules and lines.
func startApache(t *testing.T, address, modules, lines string) {
	dir, load := t.TempDir(), ""
	readable(dir)
	for module := range strings.FieldsSeq("mpm_event authz_core authz_host authn_core authn_file authz_user auth_basic" + modules) {
		load += "LoadModule " + module + "_module /usr/lib/apache2/modules/mod_" + module + ".so\n"
	}
	config := write(t, filepath.Join(dir, "httpd.conf"), fmt.Sprintf(`%sServerRoot %s
ServerName localhost
DefaultRuntimeDir %[2]s
DocumentRoot %[2]s
PidFile %[2]s/httpd.pid
Mutex pthread
Listen %[3]s
User www-data
Group www-data
ErrorLog %[2]s/error.log
%[4]s`, load, dir, address, lines))
	nameless(t, needs(t, "apache2")[0], "-D", "FOREGROUND", "-f", config)
	accepts(t, address)
}

func startRefusingPrivoxy(t *testing.T, r rules) string {
	dir, port, lines := t.TempDir(), freePort(t), ""
	if r.bars {
		lines = "permit-access 10.0.0.1\n"
	}
	if r.orphan {
		lines = "forward / 127.0.0.1:" + r.open + "\n"
	}
	write(t, filepath.Join(dir, "limit.action"), "{+limit-connect{"+r.open+"}}\n/\n")
	config := write(t, filepath.Join(dir, "config"), "confdir /etc/privoxy\nlogdir "+dir+"\nactionsfile "+filepath.Join(dir, "limit.action")+
		"\nlisten-address 127.0.0.1:"+port+"\ntoggle 1\n"+lines)
	nameless(t, needs(t, "privoxy")[0], "--no-daemon", config)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

func startRefusingNcat(t *testing.T, r rules) string {
	port := freePort(t)
	// It listens everywhere, whatever address it is told.
	arg := []string{"-l", "-k", "--proxy-type", "http", "--allow", "127.0.0.1", "127.0.0.1", port}
	if r.asks {
		arg = append(arg, "--proxy-auth", "ada:lovelace")
	}
	nameless(t, needs(t, "ncat")[0], arg...)
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// startRefusingTrafficServer asks the test's own name server for names.
func startRefusingTrafficServer(t *testing.T, r rules) string {
	dir, port, action := t.TempDir(), freePort(t), "allow"
	if r.bars {
		action = "deny"
	}
	root := "prefix: " + dir + "\nexec_prefix: " + dir + "\nbindir: /usr/bin\nsbindir: /usr/bin\nlibdir: /usr/lib/trafficserver\nlibexecdir: /usr/lib/trafficserver/modules\n"
	for folder := range strings.FieldsSeq("sysconfdir datadir includedir localstatedir runtimedir logdir mandir infodir cachedir") {
		root += folder + ": " + dir + "\n"
	}
	records := `server_ports STRING ` + port + `:ip-in=127.0.0.1
connect_ports STRING ` + r.open + `
cache.http INT 0
`
	if r.orphan {
		records += "parent_proxy.retry_time INT 1\n"
		write(t, filepath.Join(dir, "parent.config"), `dest_domain=. parent="127.0.0.1:`+r.open+`" go_direct=false`+"\n")
	}
	records = "CONFIG proxy.config.http." + strings.ReplaceAll(strings.TrimSpace(records), "\n", "\nCONFIG proxy.config.http.") + `
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 0
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.dns.nameservers STRING ` + noNames(t) + `
CONFIG proxy.config.dns.search_default_domains INT 0
`
	for name, text := range map[string]string{"records.config": records, "storage.config": dir + " 16M\n",
		"ip_allow.yaml": "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: " + action + "\n    methods: ALL\n"} {
		write(t, filepath.Join(dir, name), text)
	}
	background(t, needs(t, "traffic_server")[0], "--run-root="+write(t, filepath.Join(dir, "runroot.yaml"), root))
	accepts(t, "127.0.0.1:"+port)
	return "127.0.0.1:" + port
}

// noNames is a name server that knows no name.
func noNames(t *testing.T) (address string) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		message := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(message)
			if err != nil {
				return
			}
			if n >= 12 {
				message[2], message[3] = message[2]|0x80, 0x83 // an answer: no such name
				conn.WriteTo(message[:n], from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
