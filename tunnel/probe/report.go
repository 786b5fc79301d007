package probe

import (
	"encoding/json"
	"io"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/interception"
)

// Schema is the number of the JSON form that Report has. It changes when
// a key goes or changes its meaning, not when one is added.
const Schema = 1

// Report is all that a Prober found out. Text in it is printable ASCII, and
// credentials are masked unless Prober.ShowSecrets said otherwise.
type Report struct {
	Schema         int                  `json:"schema"`
	Started        time.Time            `json:"started"`
	Target         tunnel.Authority     `json:"target"`
	Plan           Plan                 `json:"plan"`
	Lookup         *Lookup              `json:"lookup,omitempty"`          // nil if no name had to be resolved
	Attempts       []Attempt            `json:"attempts"`                  // in the order in which they began
	FurtherLookups []Lookup             `json:"further_lookups,omitempty"` // of names that SOCKS hops were asked for as addresses
	SOCKS          []SOCKSHandshake     `json:"socks,omitempty"`           // with hops that speak it, in their order
	TLS            []TLSHandshake       `json:"tls,omitempty"`             // with proxies and, last, the target
	Exchanges      []Exchange           `json:"exchanges"`                 // in the order of the hops
	Frames         []Frame              `json:"frames,omitempty"`          // of HTTP/2, in the order of the wire
	Tunnel         *Tunnel              `json:"tunnel,omitempty"`          // nil if there was none
	TLSTry         *TLSTry              `json:"tls_try,omitempty"`         // nil if none was made
	Interception   *interception.Result `json:"interception,omitempty"`    // nil if it was not looked for, or no certificate came
	Timeline       []Span               `json:"timeline"`
	Findings       []Finding            `json:"findings"`
	Verdict        Verdict              `json:"verdict"`

	taps           []*tapped // for WriteTranscript
	secretSentBack bool      // in taps
}

// Plan is the way that was to be taken, and why.
type Plan struct {
	Hops      []string         `json:"hops"` // URLs without credentials
	Why       string           `json:"why,omitempty"`
	Abandoned []AbandonedRoute `json:"abandoned,omitempty"` // ways that could not be taken before
}

// AbandonedRoute is a way that could not be taken, so that another one was.
type AbandonedRoute struct {
	Hops []string `json:"hops"`
	Why  string   `json:"why"`
	Took Micros   `json:"took_us"`
}

// Micros is a duration in whole microseconds.
type Micros int64

func micros(d time.Duration) Micros { return Micros(d.Microseconds()) }

// Duration returns the same as the standard library has it.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Lookup is the resolution of a name.
type Lookup struct {
	Host      string   `json:"host"`
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// Attempt is one address of the first hop that was tried.
type Attempt struct {
	Address   string `json:"address"`
	At        Micros `json:"at_us"` // since Report.Started
	Duration  Micros `json:"duration_us"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"` // also if it was given up for another
}

// Exchange is one hop's CONNECT exchange. Parts that never came are
// empty.
type Exchange struct {
	Hop           string               `json:"hop"`
	Connection    int                  `json:"connection"` // the number of the connection to the first hop, from 1
	AskedFor      tunnel.Authority     `json:"asked_for"`
	Request       tunnel.WireBytes     `json:"request"`
	Interim       []tunnel.WireBytes   `json:"interim,omitempty"` // heads of 1xx replies
	Reply         tunnel.WireBytes     `json:"reply"`             // the final reply's head, or what came of it
	Status        int                  `json:"status,omitempty"`  // 0 if the head was not whole
	Reason        string               `json:"reason,omitempty"`
	Content       tunnel.WireBytes     `json:"content,omitempty"`        // the start of a refusal's content
	ContentCoding string               `json:"content_coding,omitempty"` // Content-Encoding, as it came
	ContentError  string               `json:"content_error,omitempty"`  // why the content is not whole
	Segments      []Segment            `json:"segments,omitempty"`       // all that was read, glued bytes included; not over HTTP/2
	Glued         int                  `json:"glued_bytes"`              // that arrived together with a 2xx
	Left          string               `json:"left,omitempty"`           // "closed", "reset" or "open": by the proxy, in the end; "" = it went on
	AfterRefusal  string               `json:"after_refusal,omitempty"`  // "closed" or "kept open"; "" = not judged
	Schemes       []string             `json:"schemes,omitempty"`        // of authentication that are offered
	Identity      []IdentityField      `json:"identity,omitempty"`
	ProxyStatus   []tunnel.ProxyStatus `json:"proxy_status,omitempty"` // the one nearest the origin first
	Product       string               `json:"product,omitempty"`      // what the answer looks like the work of
	ProductSign   string               `json:"product_sign,omitempty"` // by which field, or "its page"
	Error         string               `json:"error,omitempty"`        // why there is no tunnel
}

// IdentityField is a field in which proxies tell what they are.
type IdentityField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Frame is one frame of HTTP/2, DATA left out.
type Frame struct {
	Hop   string `json:"hop"`
	Sent  bool   `json:"sent"`
	At    Micros `json:"at_us"` // since Report.Started
	Frame string `json:"frame"`
}

// Tunnel is what came of the open tunnel.
type Tunnel struct {
	Sent     tunnel.WireBytes `json:"sent,omitempty"`
	Data     tunnel.WireBytes `json:"data"`               // the first bytes, the glued ones included
	Glued    int              `json:"glued_bytes"`        // of Data, that came together with the reply
	Wait     Micros           `json:"wait_us"`            // how long was listened at most; 0 = not at all
	End      string           `json:"end"`                // how it stood then
	Segments []Segment        `json:"segments,omitempty"` // what each read brought of Data, behind the glued bytes
	Page     string           `json:"page,omitempty"`     // what makes the bytes a page instead of a tunnel
}

// Span is one phase of the timeline.
type Span struct {
	Phase    string `json:"phase"`
	Hop      string `json:"hop,omitempty"`
	At       Micros `json:"at_us"` // since Report.Started
	Duration Micros `json:"duration_us"`
	Finished bool   `json:"finished"` // false: what was waited for never came
}

// The phases of a timeline.
const (
	SpanResolve             = "resolve"          // the first hop's name, or one that a SOCKS hop is asked for as an address
	SpanConnect             = "connect"          // the address that was connected to, or all if none was
	SpanTLSProxy            = "tls-to-the-proxy" // the handshake
	SpanTLSInside           = "tls-inside"       // the handshake with the target, in the tunnel
	SpanSOCKSGreeting       = "socks-greeting"   // a message to a SOCKS hop, until its answer
	SpanSOCKSAuthentication = "socks-authentication"
	SpanSOCKSConnect        = "socks-connect"
	SpanRequest             = "request"           // writing the request
	SpanFirstReplyByte      = "first-reply-byte"  // from the written request on
	SpanReplyComplete       = "reply-complete"    // from the first byte to the blank line
	SpanClose               = "close"             // from a refusal's blank line, or what first came out of the tunnel, to the other side's close
	SpanFirstTunnelByte     = "first-tunnel-byte" // from the blank line on, or from TLS inside
)

// Grade is what came of a check.
type Grade string

// The grades. A check that could not be judged is skipped, never passed.
const (
	Pass Grade = "pass"
	Warn Grade = "warn"
	Fail Grade = "fail"
	Skip Grade = "skip"
)

// Level is how binding the rule is that a check is about.
type Level string

// The levels; LevelPolicy is for what no standard demands.
const (
	LevelMust   Level = "MUST"
	LevelShould Level = "SHOULD"
	LevelPolicy Level = "policy"
)

// Finding is one check's result for one hop.
type Finding struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	RFC      string `json:"rfc"` // "RFC 9110, section 9.3.6"
	Level    Level  `json:"level"`
	Exchange int    `json:"exchange"` // the index in Report.Exchanges of what was judged; -1 = TLS was
	Hop      string `json:"hop"`      // for TLS inside the tunnel, the target
	Grade    Grade  `json:"grade"`
	Evidence string `json:"evidence,omitempty"` // for Skip, the reason
}

// WriteJSON writes the Report as one JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Segment is what one read from a proxy brought.
type Segment struct {
	At    Micros           `json:"at_us"` // since Report.Started
	Bytes tunnel.WireBytes `json:"bytes"`
}

// WriteRaw writes what came from the last proxy, and through the tunnel, and
// nothing else: not fit for a terminal. Credentials in it are masked.
func (r *Report) WriteRaw(w io.Writer) error {
	var raw []byte
	if n := len(r.Exchanges); n > 0 {
		x := r.Exchanges[n-1]
		for _, s := range x.Segments {
			raw = append(raw, s.Bytes...)
		}
		if len(x.Segments) == 0 { // HTTP/2 has no bytes of its own
			raw = append(append(raw, x.Reply...), x.Content...)
		}
	}
	if r.Tunnel != nil {
		raw = append(raw, r.Tunnel.Data[min(r.Tunnel.Glued, len(r.Tunnel.Data)):]...)
	}
	_, err := w.Write(raw)
	return err
}
