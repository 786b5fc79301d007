package proxy

import (
	"strings"
	"testing"

	"culvert/tunnel"
	"culvert/tunnel/accesslog"
	"culvert/tunnel/internal/proxytest"
	"culvert/tunnel/internal/testkit"
	"culvert/tunnel/policy"
)

func TestDecisionAsError(t *testing.T) {
	target := testkit.MustAuthority(t, "a.example:25")
	if e := decisionError(policy.Decision{Allowed: true}, target); e != nil {
		t.Errorf("allowed: %v", e)
	}
	e := decisionError(new(policy.Policy).JudgeTarget(target), target)
	if e == nil {
		t.Fatal("denied: no error")
	}
	if e.Phase != tunnel.PhasePolicy || e.Type != tunnel.ErrorDenied || e.Target != target || e.Rule != "default" || e.Detail != "destination port 25 is not allowed here" || e.HTTPStatus() != 403 {
		t.Errorf("denied: %+v, status %d", e, e.HTTPStatus())
	}
}

// The flag that would allow a target is for the operator: the log has it, the reply has
// not.
func TestHintIsInTheLogOnly(t *testing.T) {
	ts := startServer(t, &Server{Policy: policy.Policy{Allow: []policy.Pattern{proxytest.MustPattern(t, "a.test:443")}}})
	for _, request := range []string{"CONNECT a.test:25 HTTP/1.1\r\nHost: a.test:25\r\n\r\n", "GET http://a.test:25/ HTTP/1.1\r\nHost: a.test:25\r\nConnection: close\r\n\r\n"} {
		answer := ts.Ask(request)
		if answer.Status != 403 || !strings.Contains(answer.Body, "destination port 25 is not allowed here") || strings.Contains(answer.Raw, "--allow") {
			t.Errorf("%q", answer.Raw)
		}
		ts.NextRecord(accesslog.EventRequest).Want(t, "hint", "--allow 'a.test:25' would allow it")
	}
}
