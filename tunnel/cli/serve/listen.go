package serve

import (
	"fmt"

	"culvert/tunnel"
	"culvert/tunnel/cli/args"
)

// ListenSpecs reads where to listen.
func ListenSpecs(flags *args.Values) ([]tunnel.ListenSpec, error) {
	urls := flags.Strings("listen")
	if len(urls) == 0 {
		urls = []string{tunnel.DefaultListen}
	}
	specs := make([]tunnel.ListenSpec, len(urls))
	for i, url := range urls {
		var err error
		if specs[i], err = tunnel.ParseListen(url); err != nil {
			return nil, flags.Mistake("listen", fmt.Errorf("%q: %w", url, err), "as in --listen 127.0.0.1:3128, --listen '[::1]:3128' or --listen unix:/run/culvert.sock")
		}
	}
	return specs, nil
}
