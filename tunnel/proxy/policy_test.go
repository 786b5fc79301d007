package proxy

import (
	"testing"

	"culvert/tunnel"
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
