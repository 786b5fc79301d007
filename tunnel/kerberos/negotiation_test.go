package kerberos

import (
	"fmt"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// waiting returns a negotiation that has sent its ticket.
func waiting() *negotiation {
	key := types.EncryptionKey{KeyType: 18, KeyValue: make([]byte, 32)}
	return &negotiation{service: "HTTP/proxy.test", key: key, asked: time.Unix(1, 0)}
}

// answer returns a proxy's last token, whose AP-REP (RFC 4120, section 5.5.2) has that
// cipher text.
func answer(tb testing.TB, kind int, cipher []byte) []byte {
	tb.Helper()
	type encrypted struct {
		Kind   int    `asn1:"explicit,tag:0"`
		Cipher []byte `asn1:"explicit,tag:2"`
	}
	inner, err := asn1.Marshal(struct {
		Version int       `asn1:"explicit,tag:0"`
		Type    int       `asn1:"explicit,tag:1"`
		Part    encrypted `asn1:"explicit,tag:2"`
	}{5, 15, encrypted{kind, cipher}})
	if err != nil {
		tb.Fatal(err)
	}
	oid, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	if err != nil {
		tb.Fatal(err)
	}
	reply := append(append(oid, 2, 0), asn1tools.AddASNAppTag(inner, 15)...)
	token := spnego.SPNEGOToken{Resp: true, NegTokenResp: spnego.NegTokenResp{
		SupportedMech: gssapi.OIDKRB5.OID(), ResponseToken: asn1tools.AddASNAppTag(reply, 0),
	}}
	out, err := token.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// An answer that is too short for its encryption is an error of the proxy's, for every
// kind and every length.
func TestVerifyShortAnswers(t *testing.T) {
	for _, kind := range []int{0, 3, 16, 17, 18, 19, 20, 23, 24, -1, 1 << 20} {
		for n := range 64 {
			if err := waiting().Verify(answer(t, kind, make([]byte, n))); err == nil {
				t.Errorf("kind %d: %d bytes were taken for an answer", kind, n)
			}
		}
	}
	if err := waiting().Verify(answer(t, 18, make([]byte, 5))); fmt.Sprint(err) != "the proxy's Kerberos answer is too short" {
		t.Errorf("5 bytes: %v", err)
	}
}

// No token of a proxy's ends the program, or passes for an answer.
func FuzzVerify(f *testing.F) {
	f.Add(answer(f, 18, make([]byte, 4)))
	f.Add(answer(f, 18, make([]byte, 80)))
	f.Add([]byte("\xa1\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, token []byte) {
		n := waiting()
		if err := n.Verify(token); err == nil {
			// Without an AP-REP the proxy does not authenticate itself.
			if init, value, _ := spnego.UnmarshalNegToken(token); init || len(value.(spnego.NegTokenResp).ResponseToken) > 0 {
				t.Errorf("%x passes for an answer", token)
			}
		}
	})
}
