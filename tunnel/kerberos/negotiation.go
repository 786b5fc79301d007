package kerberos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/tunnel/client"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// negotiation is one login at one proxy. It implements client.Negotiator.
type negotiation struct {
	source  *Source
	user    string
	service string
	timeout time.Duration
	key     types.EncryptionKey // the session key of the ticket sent last
	asked   time.Time           // the time in its authenticator ...
	micros  int                 // ... and the microseconds
}

// Start returns the first token: an AP-REQ (RFC 4120, section 5.5.1) for the service,
// which asks for mutual authentication, in a NegTokenInit (RFC 4178, section 4.2.1). It
// may get the ticket from the KDC, within the Timeout of the Source.
func (n *negotiation) Start() ([]byte, error) {
	made := make(chan *apRequest, 1)
	go func() { made <- n.request() }() // the library takes no context
	timer := time.NewTimer(n.timeout)
	defer timer.Stop()
	select {
	case s := <-made:
		if s.err != nil {
			return nil, s.err
		}
		n.key, n.asked, n.micros = s.key, s.asked, s.micros
		return s.token, nil
	case <-timer.C:
		return nil, &client.LoginError{Err: fmt.Errorf("no ticket for %s: the KDC did not answer within %v", n.service, n.timeout), Hint: hintKDC}
	}
}

// apRequest is the token of Start and the values with which Verify compares the reply.
type apRequest struct {
	token  []byte
	key    types.EncryptionKey
	asked  time.Time
	micros int
	err    error
}

// guard is deferred around calls of the library, which panics on some malformed messages
// that a KDC or a proxy, or anyone on the way, can send. It sets *err then.
func guard(err *error, what string) {
	if recover() != nil {
		*err = errors.New(what + " is malformed")
	}
}

// request makes the token of Start.
func (n *negotiation) request() (r *apRequest) {
	var broken error
	defer func() {
		if broken != nil {
			r = &apRequest{err: broken}
		}
	}()
	defer guard(&broken, "the answer of the realm's KDC")
	held, err := n.source.ticket(n.service)
	var told *client.LoginError
	switch {
	case errors.As(err, &told):
		return &apRequest{err: err}
	case err != nil:
		return &apRequest{err: n.explain(err)}
	}
	ticket, key := held.ticket, held.key
	who, err := types.NewAuthenticator(held.realm, held.name)
	if err != nil {
		return &apRequest{err: err}
	}
	who.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: gssChecksum(gssapi.ContextFlagMutual | gssapi.ContextFlagInteg | gssapi.ContextFlagConf)}
	request, err := messages.NewAPReq(ticket, key, who)
	if err != nil {
		return &apRequest{err: err}
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	inner, err := request.Marshal()
	if err != nil {
		return &apRequest{err: err}
	}
	token, err := krb5Token(inner)
	if err != nil {
		return &apRequest{err: err}
	}
	hello := spnego.SPNEGOToken{Init: true, NegTokenInit: spnego.NegTokenInit{
		MechTypes: []asn1.ObjectIdentifier{gssapi.OIDKRB5.OID()}, MechTokenBytes: token,
	}}
	out, err := hello.Marshal()
	return &apRequest{token: out, key: key, asked: who.CTime, micros: who.Cusec, err: err}
}

const hintKDC = "check the realm's KDC in krb5.conf, and that it can be reached"

// gssChecksum returns the checksum of an authenticator (RFC 4121, section 4.1.1), with
// flags and no channel bindings.
func gssChecksum(flags uint32) []byte {
	b := make([]byte, 24)
	binary.LittleEndian.PutUint32(b, 16)
	binary.LittleEndian.PutUint32(b[20:], flags)
	return b
}

// krb5Token puts an AP-REQ into its frame (RFC 4121, section 4.1).
func krb5Token(request []byte) ([]byte, error) {
	b, err := asn1.Marshal(gssapi.OIDKRB5.OID())
	if err != nil {
		return nil, err
	}
	return asn1tools.AddASNAppTag(append(append(b, 1, 0), request...), 0), nil
}

// Verify checks the last token of the proxy: its AP-REP must be encrypted with the
// session key and name the time that Start sent (RFC 4120, section 3.2.5).
func (n *negotiation) Verify(token []byte) (err error) {
	defer guard(&err, "the proxy's Kerberos token")
	init, value, err := spnego.UnmarshalNegToken(token)
	if err != nil || init {
		return errors.New("the proxy's Kerberos token is malformed")
	}
	answer, ok := value.(spnego.NegTokenResp)
	if !ok || answer.State() == spnego.NegStateReject {
		return errors.New("the proxy rejects the Kerberos ticket")
	}
	if len(answer.ResponseToken) == 0 {
		return nil // the proxy does not authenticate itself
	}
	var reply spnego.KRB5Token
	if err := reply.Unmarshal(answer.ResponseToken); err != nil || !reply.IsAPRep() {
		return errors.New("the proxy's Kerberos token holds no answer")
	}
	if !longEnough(reply.APRep.EncPart) {
		return errors.New("the proxy's Kerberos answer is too short")
	}
	plain, err := crypto.DecryptEncPart(reply.APRep.EncPart, n.key, keyusage.AP_REP_ENCPART)
	if err != nil {
		return errors.New("the proxy does not have the key of " + n.service)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		return errors.New("the proxy's Kerberos answer is malformed")
	}
	if part.CTime.Unix() != n.asked.Unix() || part.Cusec != n.micros {
		return errors.New("the proxy's Kerberos answer is for another request")
	}
	return nil
}

// longEnough reports whether an encrypted part can hold what its kind of encryption adds
// (RFC 3961, section 5.3), which the library does not check.
func longEnough(part types.EncryptedData) bool {
	kind, err := crypto.GetEtype(part.EType)
	return err == nil && len(part.Cipher) >= kind.GetConfounderByteSize()+kind.GetHMACBitLength()/8
}

// explain returns an error with a sentence and a hint for an error of the library.
func (n *negotiation) explain(err error) error {
	text := err.Error() // the library returns the codes in words only
	switch {
	case strings.Contains(text, "S_PRINCIPAL_UNKNOWN"):
		return &client.LoginError{Err: fmt.Errorf("the realm of %s knows no service %s", n.user, n.service), Hint: "name the proxy as its administrator registered it, by its full name"}
	case strings.Contains(text, "EXPIRED"), strings.Contains(text, "TGT has expired"), strings.Contains(text, "expired"):
		return &client.LoginError{Err: fmt.Errorf("the ticket of %s has expired", n.user), Hint: "get a new one with kinit"}
	case strings.Contains(text, "communicat"), strings.Contains(text, "KDC"):
		return &client.LoginError{Err: fmt.Errorf("no ticket for %s: %s", n.service, lastPart(text)), Hint: hintKDC}
	}
	return &client.LoginError{Err: fmt.Errorf("no ticket for %s: %s", n.service, lastPart(text)), Hint: "klist shows what there is; kinit gets new tickets"}
}

// lastPart returns the cause at the end of the message of a library error, shortened.
func lastPart(text string) string {
	if i := strings.LastIndex(text, "< "); i >= 0 {
		text = text[i+2:]
	}
	const longest = 200
	return text[:min(len(text), longest)]
}
