package cliway

import (
	"fmt"
	"os"

	"culvert/tunnel"
	"culvert/tunnel/cliargs"
)

// credentials fills in those of the first hop.
func (w *Way) credentials() error {
	user, file := w.String("proxy-user"), w.String("proxy-credentials")
	password, set := os.LookupEnv("CULVERT_PROXY_PASSWORD")
	hops := w.Client.Route.Hops
	var credentials tunnel.Credentials
	switch {
	case user != "" && file != "":
		return cliargs.Usagef("leave one of them out", "--proxy-user and --proxy-credentials exclude each other")
	case user != "" && !set:
		return cliargs.Usagef("put it there, or user:password into a file for --proxy-credentials", "--proxy-user needs the password in CULVERT_PROXY_PASSWORD")
	case user != "":
		credentials = tunnel.Credentials{User: user, Password: password, Source: w.source("proxy-user") + " and CULVERT_PROXY_PASSWORD"}
		if err := credentials.Check(); err != nil {
			return w.flagError("proxy-user", err, "give the name alone; the password comes from CULVERT_PROXY_PASSWORD")
		}
	case file != "":
		read, exposed, err := tunnel.ReadCredentials(file)
		if err != nil {
			return w.flagError("proxy-credentials", err, "the file holds one line, user:password")
		}
		if exposed {
			return w.flagError("proxy-credentials", fmt.Errorf("others can read %s", file), "keep the password to yourself: chmod 600 "+file)
		}
		credentials, credentials.Source = read, file
	case set && len(hops) > 0 && hops[0].Credentials != nil && hops[0].Credentials.Password == "":
		credentials = tunnel.Credentials{User: hops[0].Credentials.User, Password: password, Source: w.Client.Route.Source + " and CULVERT_PROXY_PASSWORD"}
		if err := credentials.Check(); err != nil {
			return cliargs.Usagef("correct CULVERT_PROXY_PASSWORD", "%v", err)
		}
	default:
		return nil
	}
	if len(hops) == 0 {
		w.Notes = append(w.Notes, "the proxy's credentials are not used: the way is direct")
		return nil
	}
	hops[0].Credentials = &credentials
	return nil
}
