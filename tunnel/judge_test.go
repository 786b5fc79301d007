package tunnel

import "testing"

func TestDecisionAsError(t *testing.T) {
	target := mustAuthority(t, "a.example:25")
	if e := decisionError(Decision{Allowed: true}, target); e != nil {
		t.Errorf("allowed: %v", e)
	}
	e := decisionError(new(Policy).JudgeTarget(target), target)
	if e == nil {
		t.Fatal("denied: no error")
	}
	if e.Phase != PhasePolicy || e.Type != ErrorDenied || e.Target != target || e.Rule != "default" || e.Detail != "destination port 25 is not allowed here" || e.HTTPStatus() != 403 {
		t.Errorf("denied: %+v, status %d", e, e.HTTPStatus())
	}
}
