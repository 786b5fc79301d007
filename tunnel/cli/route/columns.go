package route

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// Columns is a terminal's width, 0 if f is none. COLUMNS overrules it, for
// pagers.
func Columns(f *os.File) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}
