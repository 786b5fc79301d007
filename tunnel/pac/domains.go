package pac

import (
	"os"
	"slices"
	"strings"
)

// resolvConf is the file in which unix systems keep their search domains. Other systems
// do not have it.
const resolvConf = "/etc/resolv.conf"

// systemDomains returns the domains in which this machine looks for names: the search
// list of /etc/resolv.conf, and the domain in the machine's own name. Some may not be
// fit for Discovery.
func systemDomains() []string {
	conf, _ := os.ReadFile(resolvConf) // none if it is missing
	host, _ := os.Hostname()
	return domainsOf(string(conf), host)
}

// domainsOf parses resolv.conf(5), in which the last line of domain or search counts, and
// appends the domain of the host name.
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
