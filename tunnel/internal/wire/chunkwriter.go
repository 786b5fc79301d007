package wire

import (
	"bufio"
	"strconv"
)

// ChunkWriter writes content to W in chunks (RFC 9112, section 7.1), each Write as one.
// An error of W is returned by all further writes, and by its Flush.
type ChunkWriter struct{ W *bufio.Writer }

// Write implements io.Writer.
func (c *ChunkWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // an empty chunk would end the content
	}
	_, _ = c.W.Write(AppendChunkSize(c.W.AvailableBuffer(), len(p)))
	n, err := c.W.Write(p)
	if err == nil {
		_, err = c.W.WriteString("\r\n")
	}
	return n, err
}

// Close writes the last chunk and the trailer section. It does not flush W.
func (c *ChunkWriter) Close(trailer []Field) error {
	_, err := c.W.WriteString("0\r\n")
	for i := range trailer {
		c.W.WriteString(trailer[i].Name)
		c.W.WriteString(": ")
		c.W.WriteString(trailer[i].Value)
		_, err = c.W.WriteString("\r\n")
	}
	if err == nil {
		_, err = c.W.WriteString("\r\n")
	}
	return err
}

// AppendChunkSize appends the line that begins a chunk of n bytes.
func AppendChunkSize(b []byte, n int) []byte {
	return append(strconv.AppendInt(b, int64(n), 16), "\r\n"...)
}
