package pac

import (
	"os"
	"slices"
	"strings"
)

// resolvConf is where unix systems keep their search domains. Others have none
// that can be read there.
const resolvConf = "/etc/resolv.conf"

// SystemDomains are those in which this machine looks for names: the search
// list of /etc/resolv.conf, then the domain in its own name, if it has one. They
// may be fit for Discovery.Domains or not.
func systemDomains() []string {
	conf, _ := os.ReadFile(resolvConf) // none if it is missing
	host, _ := os.Hostname()
	return domainsOf(string(conf), host)
}

// domainsOf reads resolv.conf(5), in which the last of domain and search counts.
func domainsOf(conf, host string) []string {
	var domains []string
	for line := range strings.Lines(conf) {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "search" || fields[0] == "domain") {
			domains = fields[1:]
		}
	}
	if _, domain, ok := strings.Cut(strings.TrimSuffix(host, "."), "."); ok {
		domains = append(domains, domain)
	}
	var out []string
	for _, domain := range domains {
		domain = strings.ToLower(strings.TrimSuffix(domain, "."))
		if domain != "" && !slices.Contains(out, domain) {
			out = append(out, domain)
		}
	}
	return out
}
