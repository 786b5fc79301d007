package page

import (
	"regexp"
	"strings"

	"culvert/tunnel/internal/wire"
)

// fingerprint is a sign of a product: a text in a field of its replies, or in its
// error pages, in lower case.
type fingerprint struct {
	product string
	field   string // "" = the content
	sign    string
}

// fingerprints are tried in this order: products that pass on the replies of others
// come after those others.
var fingerprints = [...]fingerprint{
	{"culvert", "Proxy-Status", "culvert-"},
	{"Zscaler", "Server", "zscaler"},
	{"Zscaler", "", "zscaler"},
	{"Netskope", "", "netskope"},
	{"FortiGate", "", "fortigate"},
	{"FortiGate", "", "fortiguard"},
	{"Palo Alto Networks", "", "palo alto networks"},
	{"Cisco Umbrella", "Server", "openresty-umbrella"},
	{"Cisco WSA", "Via", "cisco-wsa"},
	{"Symantec (Blue Coat) ProxySG", "Server", "bluecoat"},
	{"Symantec (Blue Coat) ProxySG", "", "blue coat"},
	{"McAfee Web Gateway", "Via", "mcafee web gateway"},
	{"McAfee Web Gateway", "", "mcafee web gateway"},
	{"Forcepoint", "", "forcepoint"},
	{"Sophos", "", "sophos"},
	{"Microsoft Forefront TMG", "", "forefront tmg"},
	{"Microsoft ISA Server", "", "isa server"},
	{"mitmproxy", "Server", "mitmproxy"},
	{"Charles", "", "charles error report"},
	{"Burp Suite", "", "burp suite"},
	{"Squid", "X-Squid-Error", ""},
	{"Squid", "Server", "squid"},
	{"Squid", "Via", "squid"},
	{"Apache Traffic Server", "Server", "ats/"},
	{"Apache Traffic Server", "Via", "apachetrafficserver"},
	{"tinyproxy", "Server", "tinyproxy"},
	{"tinyproxy", "Via", "tinyproxy"},
	{"tinyproxy", "Proxy-Agent", "tinyproxy"},
	{"Privoxy", "Proxy-Agent", "privoxy"},
	{"Privoxy", "", "privoxy"},
	{"Cntlm", "", "cntlm"},
	{"nghttpx", "Server", "nghttpx"},
	{"nghttpx", "Via", "nghttpx"},
	{"Envoy", "Server", "envoy"},
	{"h2o", "Server", "h2o"},
	{"3proxy", "", "3proxy"},
	{"HAProxy", "Server", "haproxy"},
	{"Apache httpd", "Server", "apache"},
	{"nginx", "Server", "nginx"},
	{"Varnish", "Via", "varnish"},
	{"Polipo", "Server", "polipo"},
}

// versionAfter matches the version number after a product's name.
var versionAfter = regexp.MustCompile(`^[/ ]?(?:version )?v?([0-9]+(?:\.[0-9a-z-]+)*)`)

// Product names the product that seems to have made a reply, with its version if
// the same place tells that, and the field that gave it away, or "its page"; "" =
// no known product. Neither is escaped.
func Product(reply *wire.Reply, content Content) (name, sign string) {
	if reply == nil {
		return "", ""
	}
	page := strings.ToLower(string(content))
	for _, f := range fingerprints {
		values, where := []string{page}, "its page"
		if f.field != "" {
			values, where = reply.Values(f.field), f.field
		}
		for _, value := range values {
			value = strings.ToLower(value)
			i := strings.Index(value, f.sign)
			if i < 0 || value == "" {
				continue
			}
			name = f.product
			if v := versionAfter.FindStringSubmatch(value[i+len(strings.TrimSuffix(f.sign, "/")):]); v != nil && f.sign != "" && f.product != "culvert" {
				name += " " + v[1]
			}
			return name, where
		}
	}
	return "", ""
}
