//go:build !linux

package stdio

// spliceUp and spliceDown report false: without splice(2), bytes are copied.
func (r *relaying) spliceUp() (over bool) { return false }

func (r *relaying) spliceDown() (over bool, err error) { return false, nil }
