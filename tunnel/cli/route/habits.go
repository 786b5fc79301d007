package route

import (
	"path/filepath"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// Called returns the words of the command line for a program that was called by the
// name: culvert called as corkscrew is dial --as corkscrew.
func Called(name string, words []string) []string {
	if strings.TrimSuffix(filepath.Base(name), ".exe") == "corkscrew" {
		return append([]string{"dial", "--as", "corkscrew"}, words...)
	}
	return words
}

// Habits translates the habits of other programs into culvert's flags: the arguments of
// corkscrew, with --as corkscrew, and proxies without a scheme, with nc's -X PROTOCOL.
// A mistake is an *args.Error.
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

// corkscrew translates the arguments PROXY PORT HOST PORT [AUTHFILE].
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
