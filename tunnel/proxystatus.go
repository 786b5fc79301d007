package tunnel

import (
	"strings"

	"culvert/tunnel/internal/wire"
)

// ProxyStatus is one member of a Proxy-Status field (RFC 9209): the report of one
// intermediary on a reply.
type ProxyStatus struct {
	Name    string `json:"name"`               // the name of the intermediary
	Error   string `json:"error,omitempty"`    // error token, section 2.3
	Details string `json:"details,omitempty"`  // section 2.1.5
	RCode   string `json:"rcode,omitempty"`    // section 2.3.2
	NextHop string `json:"next_hop,omitempty"` // section 2.1.2
}

// String returns the member as an item of a structured field with its parameters
// (RFC 8941, section 3.3). Characters that a string cannot hold become '?'.
func (p ProxyStatus) String() string {
	var b strings.Builder
	if wire.IsSFToken(p.Name) {
		b.WriteString(p.Name)
	} else {
		wire.WriteQuoted(&b, p.Name)
	}
	if p.Error != "" {
		b.WriteString("; error=" + p.Error)
	}
	for _, param := range [...]struct{ key, value string }{{"rcode", p.RCode}, {"details", p.Details}} {
		if param.value != "" {
			b.WriteString("; " + param.key + "=")
			wire.WriteQuoted(&b, param.value)
		}
	}
	return b.String()
}

// maxProxyStatus limits the members that are read from one reply.
const maxProxyStatus = 32

// ParseProxyStatus returns the members of the values of all Proxy-Status fields, the
// one nearest to the origin server first (RFC 9209, section 2). It skips what it
// cannot parse, so that the rest still helps a diagnosis.
func ParseProxyStatus(values []string) []ProxyStatus {
	var members []ProxyStatus
	for _, value := range values {
		for value != "" && len(members) < maxProxyStatus {
			var p ProxyStatus
			p.Name, value = cutSFItem(value)
			for strings.HasPrefix(value, ";") {
				var key, param string
				key, value = cutSFKey(value[1:])
				if strings.HasPrefix(value, "=") {
					param, value = cutSFItem(value[1:])
				}
				p.set(key, param)
			}
			if p.Name != "" {
				members = append(members, p)
			}
			_, value, _ = strings.Cut(value, ",")
		}
	}
	return members
}

func (p *ProxyStatus) set(key, value string) {
	switch key {
	case "error":
		p.Error = strings.ToLower(value)
	case "details":
		p.Details = value
	case "rcode":
		p.RCode = value
	case "next-hop":
		p.NextHop = value
	}
}

// cutSFKey cuts the key of a parameter off s, up to "=", ";" or ",".
func cutSFKey(s string) (key, rest string) {
	s = strings.TrimLeft(s, " \t")
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		end = len(s)
	}
	return strings.ToLower(strings.TrimSpace(s[:end])), s[end:]
}

// cutSFItem cuts a bare item off s: a quoted string, which it returns without the
// quotes and escapes, or any text up to ";" or ",".
func cutSFItem(s string) (item, rest string) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ";,")
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), strings.TrimLeft(s[i+1:], " \t")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// FirstProxyStatusError returns the first of the members that has an error, which is
// the one nearest to the origin server.
func FirstProxyStatusError(members []ProxyStatus) (ProxyStatus, bool) {
	for _, p := range members {
		if p.Error != "" {
			return p, true
		}
	}
	return ProxyStatus{}, false
}
