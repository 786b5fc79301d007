// Package textfile reads the text files that people write, as their editors save them:
// behind a byte order mark, and in UTF-16 as some programs of Windows write it.
//
// It knows nothing of what the text says. It imports nothing of this module.
package textfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxSize is how many bytes a file of Read may have.
const MaxSize = 64 << 20

// Read returns the text of a file in UTF-8, without a byte order mark. Its errors name
// the file, and quote nothing from it.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%s: larger than %d MiB", path, MaxSize>>20)
	}
	if b, err = Decode(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Decode returns the text b in UTF-8, without a byte order mark. Text in UTF-16 must have
// the mark. Other text is returned as it is.
func Decode(b []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return b[3:], nil
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return decodeUTF16(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return decodeUTF16(b[2:], binary.BigEndian)
	case len(b) > 1 && (b[0] == 0) != (b[1] == 0):
		return nil, errors.New("it is in UTF-16 without a byte order mark: save it as UTF-8")
	}
	return b, nil
}

func decodeUTF16(b []byte, order binary.ByteOrder) ([]byte, error) {
	if len(b)%2 != 0 {
		return nil, errors.New("its UTF-16 ends within a character: save it as UTF-8")
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	text := make([]byte, 0, len(units))
	for _, r := range utf16.Decode(units) {
		text = utf8.AppendRune(text, r)
	}
	return text, nil
}
