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
func Habits(line *args.Line) error {
	if line.Has("as") && line.String("as") == "corkscrew" {
		if err := corkscrew(line); err != nil {
			return err
		}
	}
	if !line.Has("proxy-protocol") || line.String("proxy-protocol") == "" {
		return nil
	}
	scheme := map[string]string{"connect": tunnel.SchemeHTTP, "5": tunnel.SchemeSOCKS5H, "4": tunnel.SchemeSOCKS4A}[line.String("proxy-protocol")]
	line.Rewrite("proxy", func(proxy string) string {
		if strings.Contains(proxy, "://") || strings.HasPrefix(proxy, "unix:") || proxy == "direct" {
			return proxy
		}
		return scheme + "://" + proxy
	})
	return nil
}

// corkscrew takes PROXY PORT HOST PORT [AUTHFILE] for flags and a target.
func corkscrew(line *args.Line) error {
	const form, source = "corkscrew's are PROXY PORT HOST PORT [AUTHFILE]", "the arguments"
	words := line.Args
	if len(words) != 4 && len(words) != 5 {
		return args.Usagef(form, "%d arguments, and corkscrew takes 4 or 5", len(words))
	}
	proxy, err := tunnel.ParseHostPort(words[0], words[1])
	if err != nil {
		return args.Usagef(form, "the proxy: %v", err)
	}
	line.Set("proxy", "http://"+proxy.String(), source)
	if len(words) == 5 {
		line.Set("proxy-credentials", words[4], source)
	}
	line.Args = words[2:4]
	return nil
}
