package probe

import (
	"encoding/json"
	"io"
	"time"

	"culvert/tunnel"
	"culvert/tunnel/interception"
)

// Schema is the number of the JSON format of Report and Summary. It changes when a
// key is removed or changes its meaning, not when one is added.
const Schema = 1

// Report is all that a Prober found out. Its text is printable ASCII, and
// credentials are masked unless Prober.ShowSecrets is set.
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
	Frames         []Frame              `json:"frames,omitempty"`          // of HTTP/2, in the order on the wire
	Tunnel         *Tunnel              `json:"tunnel,omitempty"`          // nil if none was opened
	TLSTry         *TLSTry              `json:"tls_try,omitempty"`         // nil if none was made
	Interception   *interception.Result `json:"interception,omitempty"`    // nil if there was no such check, or no certificate came
	Timeline       []Span               `json:"timeline"`
	Findings       []Finding            `json:"findings"`
	Verdict        Verdict              `json:"verdict"`

	taps           []*tapped // for WriteTranscript
	secretSentBack bool      // in taps
}

// Plan is the route that was probed, and why.
type Plan struct {
	Hops      []string         `json:"hops"` // URLs without credentials
	Why       string           `json:"why,omitempty"`
	Abandoned []AbandonedRoute `json:"abandoned,omitempty"` // routes that were tried before
}

// AbandonedRoute is a route that could not be taken, so that the next one was
// tried.
type AbandonedRoute struct {
	Hops []string `json:"hops"`
	Why  string   `json:"why"`
	Took Micros   `json:"took_us"`
}

// Micros is a duration in whole microseconds.
type Micros int64

func micros(d time.Duration) Micros { return Micros(d.Microseconds()) }

// Duration converts m to a time.Duration.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Lookup is the resolution of a name.
type Lookup struct {
	Host      string   `json:"host"`
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// Attempt is an attempt to connect to one address of the first hop.
type Attempt struct {
	Address   string `json:"address"`
	At        Micros `json:"at_us"` // since Report.Started
	Duration  Micros `json:"duration_us"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"` // also set if the attempt was given up for another
}

// Exchange is the CONNECT exchange with one hop. Parts that never came are empty.
type Exchange struct {
	Hop           string               `json:"hop"`
	Connection    int                  `json:"connection"` // the number of the connection to the first hop, from 1
	AskedFor      tunnel.Authority     `json:"asked_for"`
	Request       tunnel.WireBytes     `json:"request"`
	Interim       []tunnel.WireBytes   `json:"interim,omitempty"` // heads of 1xx replies
	Reply         tunnel.WireBytes     `json:"reply"`             // the final reply's head, or as much as came of it
	Status        int                  `json:"status,omitempty"`  // 0 if the head is incomplete
	Reason        string               `json:"reason,omitempty"`
	Content       tunnel.WireBytes     `json:"content,omitempty"`        // the start of a refusal's content
	ContentCoding string               `json:"content_coding,omitempty"` // Content-Encoding, as it came
	ContentError  string               `json:"content_error,omitempty"`  // why the content is incomplete
	Segments      []Segment            `json:"segments,omitempty"`       // all that was read, glued bytes included; none over HTTP/2
	Glued         int                  `json:"glued_bytes"`              // how many bytes arrived together with a 2xx
	Left          string               `json:"left,omitempty"`           // how the proxy finally left the connection: "closed", "reset" or "open"; "" = the connection went on
	AfterRefusal  string               `json:"after_refusal,omitempty"`  // "closed" or "kept open"; "" = not watched
	Schemes       []string             `json:"schemes,omitempty"`        // of authentication, as offered
	Identity      []IdentityField      `json:"identity,omitempty"`
	ProxyStatus   []tunnel.ProxyStatus `json:"proxy_status,omitempty"` // the one nearest the origin server first
	Product       string               `json:"product,omitempty"`      // what the proxy seems to be
	ProductSign   string               `json:"product_sign,omitempty"` // the field that Product was recognized by, or "its page"
	Error         string               `json:"error,omitempty"`        // why there is no tunnel
}

// IdentityField is a field in which proxies identify themselves.
type IdentityField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Frame is one frame of HTTP/2. DATA frames are left out.
type Frame struct {
	Hop   string `json:"hop"`
	Sent  bool   `json:"sent"`
	At    Micros `json:"at_us"` // since Report.Started
	Frame string `json:"frame"`
}

// Tunnel is what was read from the open tunnel, and how it ended.
type Tunnel struct {
	Sent     tunnel.WireBytes `json:"sent,omitempty"`
	Data     tunnel.WireBytes `json:"data"`               // the first bytes, the glued ones included
	Glued    int              `json:"glued_bytes"`        // how many bytes of Data came together with the reply
	Wait     Micros           `json:"wait_us"`            // how long the Prober read at most; 0 = not at all
	End      string           `json:"end"`                // the state of the tunnel after that
	Segments []Segment        `json:"segments,omitempty"` // what each read returned of Data, without the glued bytes
	Page     string           `json:"page,omitempty"`     // what makes the bytes a page instead of a tunnel
}

// Span is one phase of the timeline.
type Span struct {
	Phase    string `json:"phase"`
	Hop      string `json:"hop,omitempty"`
	At       Micros `json:"at_us"` // since Report.Started
	Duration Micros `json:"duration_us"`
	Finished bool   `json:"finished"` // false if what was waited for never came
}

// The phases of a timeline.
const (
	SpanResolve             = "resolve"          // of the first hop's name, or of one that a SOCKS hop is asked for as an address
	SpanConnect             = "connect"          // to the address that succeeded, or to all if none did
	SpanTLSProxy            = "tls-to-the-proxy" // the handshake
	SpanTLSInside           = "tls-inside"       // the handshake with the target, in the tunnel
	SpanSOCKSGreeting       = "socks-greeting"   // a message to a SOCKS hop, until its answer
	SpanSOCKSAuthentication = "socks-authentication"
	SpanSOCKSConnect        = "socks-connect"
	SpanRequest             = "request"           // writing the request
	SpanFirstReplyByte      = "first-reply-byte"  // from the end of the request
	SpanReplyComplete       = "reply-complete"    // from the first byte to the blank line
	SpanClose               = "close"             // from a refusal's blank line, or from the tunnel's first byte, to the other side's close
	SpanFirstTunnelByte     = "first-tunnel-byte" // from the blank line, or from the end of TLS inside
)

// Grade is the result of a check.
type Grade string

// The grades. A check that is not applicable is skipped, never passed.
const (
	Pass Grade = "pass"
	Warn Grade = "warn"
	Fail Grade = "fail"
	Skip Grade = "skip"
)

// Level says how binding a check's rule is.
type Level string

// The levels. LevelPolicy is for what no standard demands.
const (
	LevelMust   Level = "MUST"
	LevelShould Level = "SHOULD"
	LevelPolicy Level = "policy"
)

// Finding is one check's result for one hop.
type Finding struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	RFC      string `json:"rfc"` // as "RFC 9110, section 9.3.6"
	Level    Level  `json:"level"`
	Exchange int    `json:"exchange"` // the index in Report.Exchanges of the exchange that was checked; -1 = a TLS handshake was
	Hop      string `json:"hop"`      // for TLS inside the tunnel, the target
	Grade    Grade  `json:"grade"`
	Evidence string `json:"evidence,omitempty"` // for Skip, the reason
}

// WriteJSON writes the Report as one JSON document. The error is the writer's.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Segment is what one read from a proxy returned.
type Segment struct {
	At    Micros           `json:"at_us"` // since Report.Started
	Bytes tunnel.WireBytes `json:"bytes"`
}

// WriteRaw writes the bytes that came from the last proxy and through the tunnel,
// and nothing else. They are not fit for a terminal; credentials in them are
// masked. The error is the writer's.
func (r *Report) WriteRaw(w io.Writer) error {
	var raw []byte
	if n := len(r.Exchanges); n > 0 {
		x := r.Exchanges[n-1]
		for _, s := range x.Segments {
			raw = append(raw, s.Bytes...)
		}
		if len(x.Segments) == 0 { // over HTTP/2 there are none
			raw = append(append(raw, x.Reply...), x.Content...)
		}
	}
	if r.Tunnel != nil {
		raw = append(raw, r.Tunnel.Data[min(r.Tunnel.Glued, len(r.Tunnel.Data)):]...)
	}
	_, err := w.Write(raw)
	return err
}
