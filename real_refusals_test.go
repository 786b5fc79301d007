//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// refusingProxy starts a real proxy that tunnels to the port open on loopback
// and denies port 25; with asks it wants ada's password.
type refusingProxy func(t *testing.T, open string, asks bool) (address string)

var refusingProxies = map[string]refusingProxy{
	"serve": func(t *testing.T, open string, asks bool) string {
		arg := []string{"--allow", "*:" + open}
		if asks {
			arg = append(arg, "--users", htpasswdFile(t, "ada:lovelace"))
		}
		address, _ := serveWith(t, arg...)
		return address
	},
	"squid": func(t *testing.T, open string, asks bool) string {
		if !asks {
			return startSquidAsking(t, nil)
		}
		return startSquidAsking(t, func(string) string {
			file := htpasswdFile(t, "ada:lovelace")
			readable(file)
			return "auth_param basic program /usr/lib/squid/basic_ncsa_auth " + file + "\nauth_param basic children 1\n"
		})
	},
	"tinyproxy": func(t *testing.T, open string, asks bool) string {
		lines := "ConnectPort " + open + "\n"
		if asks {
			lines += "BasicAuth ada lovelace\n"
		}
		port := freePort(t)
		config := write(t, filepath.Join(t.TempDir(), "tinyproxy.conf"), "Port "+port+"\nListen 127.0.0.1\nTimeout 600\nAllow 127.0.0.1\n"+lines)
		background(t, needs(t, "tinyproxy")[0], "-d", "-c", config)
		accepts(t, "127.0.0.1:"+port)
		return "127.0.0.1:" + port
	},
	"apache": func(t *testing.T, open string, asks bool) string {
		dir, port := t.TempDir(), freePort(t)
		readable(dir)
		modules := "mpm_event authz_core authz_host proxy proxy_http proxy_connect authn_core authn_file authz_user auth_basic"
		var load string
		for module := range strings.FieldsSeq(modules) {
			load += "LoadModule " + module + "_module /usr/lib/apache2/modules/mod_" + module + ".so\n"
		}
		who := "Require ip 127.0.0.0/8"
		if asks {
			file := htpasswdFile(t, "ada:lovelace")
			readable(file)
			who = "AuthType Basic\nAuthName apache\nAuthUserFile " + file + "\nRequire valid-user"
		}
		config := write(t, filepath.Join(dir, "httpd.conf"), fmt.Sprintf(`%sServerRoot %s
ServerName localhost
DefaultRuntimeDir %[2]s
PidFile %[2]s/httpd.pid
Mutex pthread
Listen 127.0.0.1:%[3]s
User www-data
Group www-data
ErrorLog %[2]s/error.log
ProxyRequests On
AllowCONNECT %[4]s
<Proxy "*">
%[5]s
</Proxy>
`, load, dir, port, open, who))
		background(t, needs(t, "apache2")[0], "-D", "FOREGROUND", "-f", config)
		accepts(t, "127.0.0.1:"+port)
		return "127.0.0.1:" + port
	},
	"privoxy": func(t *testing.T, open string, asks bool) string {
		dir, port := t.TempDir(), freePort(t)
		write(t, filepath.Join(dir, "limit.action"), "{+limit-connect{"+open+"}}\n/\n")
		config := write(t, filepath.Join(dir, "config"), "confdir /etc/privoxy\nlogdir "+dir+"\nactionsfile "+filepath.Join(dir, "limit.action")+"\nlisten-address 127.0.0.1:"+port+"\ntoggle 1\n")
		background(t, needs(t, "privoxy")[0], "--no-daemon", config)
		accepts(t, "127.0.0.1:"+port)
		return "127.0.0.1:" + port
	},
	"ncat": func(t *testing.T, open string, asks bool) string {
		port := freePort(t)
		arg := []string{"-l", "-k", "--proxy-type", "http", "127.0.0.1", port}
		if asks {
			arg = append(arg, "--proxy-auth", "ada:lovelace")
		}
		background(t, needs(t, "ncat")[0], arg...)
		accepts(t, "127.0.0.1:"+port)
		return "127.0.0.1:" + port
	},
}

// readable lets a server that gave up root read a file of the test's.
func readable(path string) {
	for d := path; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
}

// What dial says of the refusals of real proxies: a sentence, a hint, a code.
func TestRealRefusals(t *testing.T) {
	want := refusals(t)
	for name := range refusingProxies {
		t.Run(name, func(t *testing.T) {
			closed := freePort(t)
			open, denied := refusingProxies[name](t, closed, false), "127.0.0.1:25"
			if name == "squid" {
				denied = "127.0.0.9:25"
			}
			for class, arg := range map[string][]string{
				"denied":  {"-x", open, denied},
				"refused": {"-x", open, "127.0.0.1:" + closed},
				"TLS":     {"-x", "https://" + open, "127.0.0.1:" + closed},
				"SOCKS":   {"-x", "socks5h://" + open, "127.0.0.1:" + closed},
				"HTTP/2":  {"-x", "h2c://" + open, "127.0.0.1:" + closed},
			} {
				checkRefusal(t, want, name+": "+class, open, closed, arg)
			}
			if name == "privoxy" {
				return // it knows no logins
			}
			asks := refusingProxies[name](t, closed, true)
			checkRefusal(t, want, name+": no password", asks, closed, []string{"-x", asks, "127.0.0.1:" + closed})
			checkRefusal(t, want, name+": wrong password", asks, closed, []string{"-x", "ada:babbage@" + asks, "127.0.0.1:" + closed})
		})
	}
}

// refusals are the texts wanted: of each proxy and class the exit code, the
// sentence and the hint, with PROXY and TARGET for the addresses, N for versions.
func refusals(t *testing.T) map[string]string {
	text, err := os.ReadFile("testdata/refusals.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		head, rest, _ := strings.Cut(block, "\n")
		all[head] = rest
	}
	return all
}

var versions = regexp.MustCompile(`(version|Privoxy) [0-9.]+[0-9]`)

func checkRefusal(t *testing.T, want map[string]string, name, proxy, closed string, arg []string) {
	t.Helper()
	_, stderr, code := runProgram(t, strings.NewReader(""), culvert(t), append([]string{"dial", "--timeout", "4s"}, arg...)...)
	_, port, _ := strings.Cut(proxy, ":")
	got := strings.NewReplacer(proxy, "PROXY", "127.0.0.1:"+closed, "TARGET", "127.0.0.1:25", "TARGET", "127.0.0.9:25", "TARGET",
		"port "+closed, "port TARGET", "port "+port, "port PROXY", "culvert dial: ", "").Replace(stderr)
	got = fmt.Sprintf("exit %d\n%s", code, strings.TrimSpace(versions.ReplaceAllString(got, "$1 N")))
	if got != want[name] {
		t.Errorf("%s\n%s\nwant\n%s", name, got, want[name])
	}
}
