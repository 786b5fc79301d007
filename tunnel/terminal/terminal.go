// Package terminal dresses words for a person who reads them on a terminal: colours
// by what the words are for, and lines broken to a width. It is told both, and
// looks at no terminal itself.
package terminal

// Colour turns words into the same words with a colour around them. A nil
// Colour leaves them as they are.
type Colour func(string) string

// Paint returns text in that colour. There is nothing to paint in an empty text.
func (c Colour) Paint(text string) string {
	if c == nil || text == "" {
		return text
	}
	return c(text)
}

// Style says how words are dressed for a terminal: the colour of each kind, and
// how wide lines may be. The zero Style is plain text. A command fills one for
// each stream it writes to.
type Style struct {
	Talk     Colour // what culvert says itself: plan, timeline, remarks
	Sent     Colour // bytes sent to the proxy
	Received Colour // bytes received from the proxy
	Good     Colour // a check that passed, an open tunnel
	Warn     Colour // a lapse that does no harm here
	Bad      Colour // a failure, a check that failed
	Faint    Colour // what may be skipped: times, sections
	Bold     Colour // what should be read first

	Width int  // columns that tables and the timeline may take; 0 = 80
	Wrap  bool // lines of words are broken at Width too, since a person reads them there
}

// Columns returns Width, or its default.
func (s Style) Columns() int {
	if s.Width <= 0 {
		return defaultWidth
	}
	return s.Width
}

// defaultWidth is that of a terminal whose width is not known.
const defaultWidth = 80
