package client_test

import (
	"errors"
	"slices"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/internal/clienttest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/tunneltest"
)

// Error.Answer and Error.Login are set if there was an answer or a login, and nil
// otherwise.
func TestErrorHasAnswerAndLoginWhereTheyAre(t *testing.T) {
	fail := func(proxy string) *tunnel.Error {
		t.Helper()
		var e *tunnel.Error
		if _, err := clienttest.Proxied(t, proxy).Open(t.Context(), testkit.MustAuthority(t, "a:22")); !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		return e
	}
	answering := func(reply string) string { return tunneltest.StartProxy(t, tunneltest.Answer(reply)...).Addr() }

	if e := fail(tunneltest.Unused(t)); e.Answer != nil || e.Login != nil || e.Scheme != "" {
		t.Errorf("not connected: %+v", e)
	}
	if e := fail(answering("")); e.Answer != nil || e.Login != nil || e.Scheme != tunnel.SchemeHTTP {
		t.Errorf("no answer: %+v", e)
	}
	if e := fail(answering("SSH-2.0\r\n")); e.Login != nil || e.Answer == nil || string(e.Answer.Start) != "SSH-2.0\r\n" || !e.Answer.WrongProtocol {
		t.Errorf("another protocol: %+v, %+v", e, e.Answer)
	}
	if e := fail(answering("HTTP/1.1 200 O")); e.Login != nil || e.Answer == nil || string(e.Answer.Start) != "HTTP/1.1 200 O" || e.Answer.WrongProtocol {
		t.Errorf("half an answer: %+v, %+v", e, e.Answer)
	}
	if e := fail("me:hunter2@" + answering("HTTP/1.1 403 No hunter2\r\n\r\n")); e.Login != nil || e.Answer == nil || e.Answer.Reason != "No ***" || e.Answer.Portal {
		t.Errorf("refused: %+v, %+v", e, e.Answer)
	}
	if e := fail(answering("HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n")); e.Answer == nil || !e.Answer.Portal {
		t.Errorf("redirected: %+v, %+v", e, e.Answer)
	}
	const wanted = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Hawk\r\n\r\n"
	if e := fail("me:pw@" + answering(wanted)); e.Login == nil || !slices.Equal(e.Login.Schemes, []string{"Hawk"}) || e.Login.Sent || !e.Login.Withheld || e.Login.LaterHop {
		t.Errorf("credentials wanted: %+v, %+v", e, e.Login)
	}
	if e := fail("socks5h://" + testkit.SOCKSThen(t, "05 01 00 > 05 ff", tunneltest.Finish).Addr()); !e.Reported || e.Answer != nil || e.Login == nil || e.Login.Sent || e.Scheme != tunnel.SchemeSOCKS5H {
		t.Errorf("a login wanted in SOCKS: %+v, %+v", e, e.Login)
	}
	if e := fail("socks5h://" + testkit.SOCKSThen(t, "05 01 00 > 05", tunneltest.Finish).Addr()); e.Reported || e.Answer != nil || e.Login != nil {
		t.Errorf("cut off in SOCKS: %+v", e)
	}
}
