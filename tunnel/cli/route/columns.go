package route

import (
	"os"
	"strconv"

	"golang.org/x/term"
)

// Columns returns the width of the terminal f in columns, 0 if f is not a
// terminal. The variable COLUMNS overrides it, for pagers.
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
