package tunnel

// Style dresses words for a terminal: each field turns a string into the same
// string with colour around it. A nil field leaves its words as they are, so
// the zero Style is plain text. The command fills it per stream; this package
// never looks at a terminal.
type Style struct {
	Talk     func(string) string // what culvert says itself: plan, timeline, remarks
	Sent     func(string) string // bytes sent to the proxy
	Received func(string) string // bytes received from the proxy
	Good     func(string) string // a check that passed, an open tunnel
	Warn     func(string) string // a lapse that does no harm here
	Bad      func(string) string // a failure, a check that failed
	Faint    func(string) string // what may be skipped over: times, sections
	Bold     func(string) string // what should be read first

	Width int  // columns that tables and the timeline may take; 0 = 80
	Wrap  bool // lines of words are broken at Width too: somebody reads them there
}

// dress applies one field of a Style.
func dress(f func(string) string, s string) string {
	if f == nil || s == "" {
		return s
	}
	return f(s)
}

func (s Style) talk(text string) string     { return dress(s.Talk, text) }
func (s Style) sent(text string) string     { return dress(s.Sent, text) }
func (s Style) received(text string) string { return dress(s.Received, text) }
func (s Style) good(text string) string     { return dress(s.Good, text) }
func (s Style) warn(text string) string     { return dress(s.Warn, text) }
func (s Style) bad(text string) string      { return dress(s.Bad, text) }
func (s Style) faint(text string) string    { return dress(s.Faint, text) }
func (s Style) bold(text string) string     { return dress(s.Bold, text) }
