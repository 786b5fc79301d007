package tunnel

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"culvert/tunnel/internal/wire"
)

// explainCredentials is for 407, and for 401, which some proxies send in its
// stead.
func (e *Error) explainCredentials() (sentence, hint string) {
	answer, login := e.answer(), e.credentials()
	if len(login.Schemes) > 0 {
		answer += "; it offers " + strings.Join(login.Schemes, ", ")
	}
	if login.Sent {
		return e.proxy() + " refused the credentials for " + e.Target.String() + ": " + answer, e.refusedCredentialsHint()
	}
	var failed *LoginError
	others := slices.ContainsFunc(login.Schemes, func(s string) bool { return slices.Contains(append(authSchemes, AuthBearer), strings.ToLower(s)) })
	if errors.As(login.Failed, &failed) && !(failed.Unset && others) {
		answer += "; " + wire.Escape([]byte(failed.Error()), maxDetail)
	}
	broken := e.brokenChallenge()
	if broken != "" {
		answer += "; " + broken
	}
	sentence = e.proxy() + " wants credentials for " + e.Target.String() + ": " + answer
	tickets := slices.ContainsFunc(login.Schemes, func(s string) bool { return strings.EqualFold(s, AuthNegotiate) })
	switch {
	case broken != "":
		return sentence, "the proxy's challenge is broken, or of a kind that culvert does not know: tell its administrator"
	case failed != nil && !others:
		return sentence, failed.Hint
	case tickets && !others:
		return sentence, "it wants a Kerberos ticket: get one with kinit, and leave --auth out"
	case e.Told && login.Kept:
		return sentence, "culvert knows no other login for SOCKS: ask the proxy's administrator to take a password"
	case others && login.Kept:
		return sentence, "yours are for none of these: check --auth"
	case others || len(login.Schemes) == 0 && !login.Kept:
		return sentence, e.giveCredentials()
	case len(login.Schemes) == 0:
		return sentence, "the proxy does not say how it wants them: send them unasked with --auth basic"
	}
	return sentence, "culvert knows Basic, Bearer, Digest, Negotiate and NTLM: ask the proxy's administrator to offer one of them"
}

// brokenChallenge says what is wrong with a challenge that there was no answer to,
// as a Digest without a nonce, "" if it was not that.
func (e *Error) brokenChallenge() string {
	var failed *LoginError
	login := e.credentials()
	if login.Failed == nil || !login.Kept || errors.As(login.Failed, &failed) {
		return ""
	}
	return "no answer to " + wire.Escape([]byte(login.Failed.Error()), maxDetail)
}

// refusedCredentialsHint is for credentials that were shown.
func (e *Error) refusedCredentialsHint() string {
	login := e.credentials()
	named := Error{Source: cmp.Or(login.Source, e.Source)}
	hint := "check " + named.where("user name and password")
	if slices.ContainsFunc(login.Schemes, func(s string) bool { return strings.EqualFold(s, AuthNTLM) }) {
		hint += `; for NTLM the user may have to be DOMAIN\user`
	}
	return hint
}

// giveCredentials says where credentials are to be given. Those of the flags are
// the first proxy's, and no other's to see.
func (e *Error) giveCredentials() string {
	if e.credentials().Later {
		return "put USER:PASSWORD@ into " + e.where("that proxy's URL") + ", before its host"
	}
	return "give them with --proxy-user NAME and CULVERT_PROXY_PASSWORD, or --proxy-credentials FILE"
}
