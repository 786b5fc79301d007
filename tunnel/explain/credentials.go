package explain

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"culvert/tunnel"
	"culvert/tunnel/client"
	"culvert/tunnel/internal/wire"
)

// credentials explains a proxy that requires a login, or refused one: by a 407, by
// a 401, which some proxies send instead, or in SOCKS.
func (x explanation) credentials() (sentence, hint string) {
	answer, login := x.answerWords(), x.login
	if len(login.Schemes) > 0 {
		answer += "; it offers " + strings.Join(login.Schemes, ", ")
	}
	var failed *client.LoginError
	others := slices.ContainsFunc(login.Schemes, func(s string) bool {
		return slices.Contains(append(client.AuthSchemes, client.AuthBearer), strings.ToLower(s))
	})
	if errors.As(login.Failed, &failed) && (failed.Proxy || !login.Sent && !(failed.Unset && others)) {
		answer += "; " + wire.Escape([]byte(failed.Error()), client.MaxDetail)
	}
	if login.Sent {
		return x.proxy() + " refused the credentials for " + x.Target.String() + ": " + answer, x.refusedCredentialsHint(failed)
	}
	broken := BrokenChallenge(x.Error)
	if broken != "" {
		answer += "; " + broken
	}
	sentence = x.proxy() + " wants credentials for " + x.Target.String() + ": " + answer
	tickets := slices.ContainsFunc(login.Schemes, func(s string) bool { return strings.EqualFold(s, client.AuthNegotiate) })
	switch {
	case broken != "":
		return sentence, "the proxy's challenge is broken, or of a kind that culvert does not know: tell its administrator"
	case failed != nil && (!others || login.Withheld && failed.Proxy):
		return sentence, failed.Hint
	case tickets && !others:
		return sentence, "it wants a Kerberos ticket: get one with kinit, and leave --auth out"
	case x.Reported && login.Withheld:
		return sentence, "culvert knows no other login for SOCKS: ask the proxy's administrator to take a password"
	case others && login.Withheld:
		return sentence, "yours are for none of these: check --auth"
	case others || len(login.Schemes) == 0 && !login.Withheld:
		return sentence, x.giveCredentialsHint()
	case len(login.Schemes) == 0:
		return sentence, "the proxy does not say how it wants them: send them unasked with --auth basic"
	}
	return sentence, "culvert knows Basic, Bearer, Digest, Negotiate and NTLM: ask the proxy's administrator to offer one of them"
}

// BrokenChallenge says what is wrong with a challenge that could not be answered,
// as a Digest challenge without a nonce; "" = there is no such challenge.
func BrokenChallenge(e *tunnel.Error) string {
	var failed *client.LoginError
	login := explanationOf(e).login
	if login.Failed == nil || !login.Withheld || errors.As(login.Failed, &failed) {
		return ""
	}
	return "no answer to " + wire.Escape([]byte(login.Failed.Error()), client.MaxDetail)
}

// LoginFailure says how the proxy made a login impossible, or one by another scheme than
// that tried last; "" = it did not.
func LoginFailure(e *tunnel.Error) string {
	var failed *client.LoginError
	if login := explanationOf(e).login; errors.As(login.Failed, &failed) && failed.Proxy {
		return wire.Escape([]byte(failed.Error()), client.MaxDetail)
	}
	return BrokenChallenge(e)
}

// refusedCredentialsHint is the hint if credentials were sent and refused. failed is the
// reason why a scheme could not be used; nil = none.
func (x explanation) refusedCredentialsHint(failed *client.LoginError) string {
	hint := "check " + settingIn("user name and password", cmp.Or(x.login.Source, x.Source))
	if failed != nil && failed.Proxy {
		return hint + "; " + failed.Hint
	}
	if slices.ContainsFunc(x.login.Schemes, func(s string) bool { return strings.EqualFold(s, client.AuthNTLM) }) {
		hint += `; for NTLM the user may have to be DOMAIN\user`
	}
	return hint
}

// interruptedLogin explains a proxy that ended a login before it had all of it, by
// closing the connection.
func (x explanation) interruptedLogin() (sentence, hint string) {
	words := x.login.Failed.Error()
	var failed *client.LoginError
	if errors.As(x.login.Failed, &failed) {
		words, hint = failed.Error(), failed.Hint
	}
	return x.proxy() + " gave no answer for " + x.Target.String() + ": " + wire.Escape([]byte(words), client.MaxDetail), hint
}

// silentLogin explains a proxy that said nothing more after its 407.
func (x explanation) silentLogin() (sentence, hint string) {
	sentence = x.proxy() + " asked for a login, and then did not answer in time"
	if slices.ContainsFunc(x.login.Schemes, func(s string) bool { return strings.EqualFold(s, client.AuthBasic) }) {
		return sentence, "send the credentials unasked, with --auth basic: the proxy may answer one request of a connection only; or wait longer with --timeout"
	}
	return sentence, "it may wait for " + x.Target.String() + " in vain, or for a server that knows its users: tell its administrator, or wait longer with --timeout"
}

// giveCredentialsHint says where to give credentials. Those of the flags are sent
// to the first proxy only.
func (x explanation) giveCredentialsHint() string {
	if x.login.LaterHop {
		return "put USER:PASSWORD@ into " + x.setting("that proxy's URL") + ", before its host"
	}
	return "give them with --proxy-user NAME and CULVERT_PROXY_PASSWORD, or --proxy-credentials FILE"
}
