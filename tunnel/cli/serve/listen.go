package serve

import (
	"fmt"

	"culvert/tunnel/cli/args"
	"culvert/tunnel/listen"
)

// ListenSpecs reads where to listen.
func ListenSpecs(flags *args.Values) ([]listen.Spec, error) {
	urls := flags.Strings("listen")
	if len(urls) == 0 {
		urls = []string{listen.Default}
	}
	specs := make([]listen.Spec, len(urls))
	for i, url := range urls {
		var err error
		if specs[i], err = listen.Parse(url); err != nil {
			return nil, flags.Mistake("listen", fmt.Errorf("%q: %w", url, err), "as in --listen 127.0.0.1:3128, --listen '[::1]:3128' or --listen unix:/run/culvert.sock")
		}
	}
	return specs, nil
}
