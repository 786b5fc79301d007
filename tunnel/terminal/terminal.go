// Package terminal formats text for people who read it on a terminal: it colours
// words by their purpose, and folds lines to a width. Its callers say whether there
// are colours and how wide the terminal is; it examines no terminal itself. It
// imports nothing but the standard library.
package terminal

// A Colour adds the sequences for a colour around text. A nil Colour adds nothing.
type Colour func(string) string

// Paint returns text in that colour. Empty text stays empty.
func (c Colour) Paint(text string) string {
	if c == nil || text == "" {
		return text
	}
	return c(text)
}

// Style says how text is formatted: the colour for each purpose, and how wide lines
// may be. The zero Style is plain text. A command fills one for each stream it
// writes to.
type Style struct {
	Talk     Colour // what culvert says itself: plan, timeline, remarks
	Sent     Colour // bytes sent to the proxy
	Received Colour // bytes received from the proxy
	Good     Colour // a check that passed, an open tunnel
	Warn     Colour // a lapse that does no harm here
	Bad      Colour // a failure, a check that failed
	Faint    Colour // what may be skipped: times, sections
	Bold     Colour // what should be read first

	Width int  // columns for tables and the timeline; 0 = 80
	Wrap  bool // lines of words are folded to Width too, since a person reads them on a terminal
}

// Columns returns Width or its default.
func (s Style) Columns() int {
	if s.Width <= 0 {
		return defaultWidth
	}
	return s.Width
}

// defaultWidth is used if the width of the terminal is not known.
const defaultWidth = 80
