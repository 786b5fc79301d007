package route

import (
	"path/filepath"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// Called are the words of a command line, by the name that the program was
// called by: as corkscrew it is dial --as corkscrew.
func Called(name string, words []string) []string {
	if strings.TrimSuffix(filepath.Base(name), ".exe") == "corkscrew" {
		return append([]string{"dial", "--as", "corkscrew"}, words...)
	}
	return words
}

// Habits translates what fingers type that know another program: the arguments
// of corkscrew, PROXY PORT HOST PORT [AUTHFILE], with --as corkscrew; nc's
// -X PROTOCOL, for proxies without a scheme of their own.
func Habits(settings []args.Setting, words []string) ([]args.Setting, []string, error) {
	if as := args.Find(settings, "as"); as.Value == "corkscrew" {
		const form = "corkscrew's are PROXY PORT HOST PORT [AUTHFILE]"
		if len(words) != 4 && len(words) != 5 {
			return nil, nil, args.Usagef(form, "%d arguments, and corkscrew takes 4 or 5", len(words))
		}
		proxy, err := tunnel.ParseHostPort(words[0], words[1])
		if err != nil {
			return nil, nil, args.Usagef(form, "the proxy: %v", err)
		}
		settings = append(settings, args.Setting{Name: "proxy", Value: "http://" + proxy.String(), Source: "the arguments"})
		if len(words) == 5 {
			settings = append(settings, args.Setting{Name: "proxy-credentials", Value: words[4], Source: "the arguments"})
		}
		words = words[2:4]
	}
	protocol := args.Find(settings, "proxy-protocol")
	if protocol.Value == "" {
		return settings, words, nil
	}
	scheme := map[string]string{"connect": tunnel.SchemeHTTP, "5": tunnel.SchemeSOCKS5H, "4": tunnel.SchemeSOCKS4A}[protocol.Value]
	for i, s := range settings {
		if s.Name == "proxy" && !strings.Contains(s.Value, "://") && !strings.HasPrefix(s.Value, "unix:") && s.Value != "direct" {
			settings[i].Value = scheme + "://" + s.Value
		}
	}
	return settings, words, nil
}
